//! What the workers share: their task, the protocol on standard input and output, and the list of layers for tools
//! that read no ONNX.

pub mod layers;

use std::fs;
use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// What a worker is asked to run: `NETWORK FOLDER BATCH THREADS infer|train` on the command line.
pub struct Task {
    /// Name of the network as residuum has it.
    pub network: String,
    /// Where its files are.
    pub folder: PathBuf,
    pub threads: usize,
    pub is_training: bool,
    /// `[n, 3, h, w]`.
    pub shape: [usize; 4],
    pub images: Vec<f32>,
}

impl Task {
    pub fn from_args() -> Result<Self> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [network, folder, batch, threads, mode] = &args[..] else {
            bail!("expected NETWORK FOLDER BATCH THREADS infer|train");
        };
        let folder = PathBuf::from(folder);
        let path = folder.join(format!("images-{batch}.safetensors"));
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let file = SafeTensors::deserialize(&bytes)?;
        let images = file.tensor("images")?;
        Ok(Self {
            network: network.clone(),
            folder,
            threads: threads.parse()?,
            is_training: mode == "train",
            shape: images.shape().try_into()?,
            images: bytemuck::pod_collect_to_vec(images.data()),
        })
    }

    pub fn onnx(&self) -> PathBuf {
        self.folder.join("model.onnx")
    }

    /// A thread pool of the task's size for tools that use rayon's.
    pub fn rayon(&self) -> Result<()> {
        Ok(rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?)
    }

    /// Labels of a training step: the classes in turn.
    pub fn labels(&self, classes: usize) -> Vec<u32> {
        (0..self.shape[0]).map(|i| (i % classes) as u32).collect()
    }

    /// Answers all requests, and says at the end how much memory that took.
    pub fn serve(&self, run: impl FnMut() -> Result<Vec<f32>>) -> Result<()> {
        self.requests(run)?;
        reply(&json!({"peak_mb": peak_mb()?}));
        Ok(())
    }

    /// Runs once, says so, and then does what standard input asks: `run N`, `answer PATH`, until it says `quit`. The
    /// answer is that of the last inference, or the losses of all training steps.
    pub fn requests(&self, mut run: impl FnMut() -> Result<Vec<f32>>) -> Result<()> {
        let mut answer = run()?;
        reply(&json!({"ready": true}));
        for line in stdin().lock().lines() {
            let line = line?;
            match line.split_once(' ') {
                Some(("run", count)) => {
                    let mut times = Vec::new();
                    for _ in 0..count.parse()? {
                        let start = Instant::now();
                        let new = run()?;
                        times.push(1000.0 * start.elapsed().as_secs_f64());
                        if self.is_training { answer.extend(new) } else { answer = new }
                    }
                    reply(&json!({"ms": times}));
                }
                Some(("answer", path)) => {
                    fs::write(path, bytemuck::cast_slice(&answer))?;
                    reply(&json!({"written": true}));
                }
                _ => break,
            }
        }
        Ok(())
    }
}

/// Lines without the mark are whatever else a tool prints.
pub fn reply(value: &Value) {
    println!("@ {value}");
}

/// The most memory that this process has had, in MB.
pub fn peak_mb() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}
