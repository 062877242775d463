//! A network with everything around it that an answer needs.

use std::path::Path;

use rayon::prelude::*;
use residuum_data::{DataError, Limits, RgbImage, decode};
use residuum_engine::{Engine, EngineError, Inference, InputShape};
use residuum_formats::disk;
use residuum_graph::{Graph, GraphError, Op, Quantization, Weights};
use residuum_tensor::Tensor;

use crate::error::{ClassifyError, Result};
use crate::load::Loaded;
use crate::score::{softmax, top, widen};

/// A class and how probable it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Which class.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Between 0 and 1; those of all classes make 1.
    pub probability: f64,
}

/// A loaded network that answers. Compiles a program for each size of batch that it is asked for, and keeps
/// the latest.
#[derive(Debug)]
pub struct Classifier {
    engine: Engine,
    loaded: Loaded,
    /// At most [`PROGRAMS`], the latest used last.
    programs: Vec<((Form, InputShape), Inference)>,
    /// Its fully convolutional form, once it is needed.
    windows: Option<(Graph, Weights)>,
}

/// Programs that are kept: two shapes of picture in the five scales of the papers. Each holds the weights.
const PROGRAMS: usize = 10;

/// What a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The network as it is: one answer an image.
    Whole,
    /// The fully convolutional form: an answer at every position.
    Windows,
}

impl Classifier {
    /// Puts a network on an engine. Nothing is compiled yet.
    pub fn new(engine: Engine, loaded: Loaded) -> Self {
        Self { engine, loaded, programs: Vec::new(), windows: None }
    }

    /// The network.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What it runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The `k` most probable classes of each picture, the most probable first.
    ///
    /// # Errors
    /// When the network cannot be compiled, or answers with values that are not finite.
    pub fn predict(&mut self, images: &[RgbImage], k: usize) -> Result<Vec<Vec<Prediction>>> {
        let logits = self.logits(images)?;
        let answers = logits.chunks_exact(self.loaded.classes()).enumerate();
        answers.map(|(i, logits)| self.best(logits, k, || format!("image {i}"))).collect()
    }

    /// [`Classifier::predict`] for files, each read, decoded and prepared on its own; one that cannot be read
    /// is answered with the reason.
    ///
    /// # Errors
    /// When the network cannot be compiled.
    pub fn predict_files(
        &mut self,
        paths: &[impl AsRef<Path> + Sync],
        k: usize,
    ) -> Result<Vec<Result<Vec<Prediction>>>> {
        let preprocess = &self.loaded.info.preprocess;
        let prepare = |path| read_image(path).map(|image| preprocess.apply(&image));
        let prepared: Vec<Result<Vec<f32>>> =
            self.engine.threads().run(|| paths.par_iter().map(prepare).collect());
        let batch: Vec<f32> = prepared.iter().flatten().flatten().copied().collect();
        let logits = self.prepared_logits(&batch)?;
        let mut answers = logits.chunks_exact(self.loaded.classes());
        let answer = |(path, prepared): (_, Result<Vec<f32>>)| {
            prepared?;
            let logits = answers.next().unwrap_or_default();
            self.best(logits, k, || AsRef::<Path>::as_ref(path).display().to_string())
        };
        Ok(paths.iter().zip(prepared).map(answer).collect())
    }

    /// What the network answers, before the softmax: `[images, classes]`.
    ///
    /// # Errors
    /// When the network cannot be compiled.
    pub fn logits(&mut self, images: &[RgbImage]) -> Result<Vec<f32>> {
        let preprocess = &self.loaded.info.preprocess;
        let mut prepared = vec![0.0; images.len() * preprocess.len()];
        self.engine.threads().run(|| {
            let pairs = images.par_iter().zip(prepared.par_chunks_exact_mut(preprocess.len()));
            pairs.for_each(|(image, out)| preprocess.apply_into(image, out));
        });
        self.prepared_logits(&prepared)
    }

    /// [`Classifier::logits`] of pictures that are prepared already and lie one after the other.
    ///
    /// # Errors
    /// When the network cannot be compiled.
    pub fn prepared_logits(&mut self, prepared: &[f32]) -> Result<Vec<f32>> {
        match prepared.len() / self.loaded.info.preprocess.len() {
            0 => Ok(Vec::new()),
            n => Ok(self.program(n)?.run(prepared).to_vec()),
        }
    }

    fn best(&self, logits: &[f32], k: usize, image: impl Fn() -> String) -> Result<Vec<Prediction>> {
        let logits = &widen(logits);
        if logits.iter().any(|x| !x.is_finite()) {
            return Err(ClassifyError::NotFinite { image: image() });
        }
        let probabilities = softmax(logits);
        let name = |class: usize| self.loaded.info.class_names[class].clone();
        let classes = top(logits, k).into_iter();
        Ok(classes
            .map(|class| Prediction { class, name: name(class), probability: probabilities[class] })
            .collect())
    }

    /// The program for batches of `n` pictures of the network's own size.
    fn program(&mut self, n: usize) -> Result<&mut Inference> {
        let crop = self.loaded.info.preprocess.crop;
        self.program_of(Form::Whole, InputShape { n, h: crop, w: crop })
    }

    /// The program of a form for batches of a size.
    pub(crate) fn program_of(&mut self, form: Form, shape: InputShape) -> Result<&mut Inference> {
        let key = (form, shape);
        let found = if let Some(place) = self.programs.iter().position(|(other, _)| *other == key) {
            self.programs.remove(place)
        } else {
            if self.programs.len() == PROGRAMS {
                self.programs.remove(0);
            }
            (key, self.compile(form, shape)?)
        };
        self.programs.push(found);
        Ok(&mut self.programs.last_mut().expect("it has just been put there").1)
    }

    fn compile(&mut self, form: Form, shape: InputShape) -> Result<Inference> {
        let engine = self.engine.clone();
        let quantization = self.loaded.info.quantization.clone();
        match form {
            Form::Whole => self.loaded.compile(&engine, shape, &[]),
            Form::Windows => {
                let (graph, weights) = self.windows()?;
                let scores = [scores_of(graph)];
                Ok(compile(&engine, graph, weights, quantization.as_ref(), shape, &scores)?)
            }
        }
    }

    /// The map of scores after the last run of [`Form::Windows`] at a size: `[n, classes, h, w]`, or
    /// `[n, classes]` where it has one position.
    pub(crate) fn window_scores(&mut self, shape: InputShape) -> Result<Tensor> {
        let name = scores_of(&self.loaded.model.graph);
        let program = self.program_of(Form::Windows, shape)?;
        Ok(program.tap(&name).expect("the program was compiled with this tap"))
    }

    /// Whether the network admits pictures of this shorter side.
    pub(crate) fn check_side(&mut self, form: Form, side: usize) -> Result<()> {
        let graph = match form {
            Form::Whole => &self.loaded.model.graph,
            Form::Windows => &self.windows()?.0,
        };
        graph.extents(side, side).map(|_| ()).map_err(|error| EngineError::from(error).into())
    }

    /// The fully convolutional form, whose windows have the size of the last map at the network's own size.
    fn windows(&mut self) -> Result<&(Graph, Weights)> {
        if self.windows.is_none() {
            let Loaded { model, weights, info, .. } = &self.loaded;
            let rewritten = (|| -> std::result::Result<_, GraphError> {
                let extents = model.graph.extents(info.preprocess.crop, info.preprocess.crop)?;
                let pool = model.graph.nodes().iter().find(|node| node.op == Op::GlobalAvgPool);
                let window = pool.map_or([1, 1], |node| extents[node.inputs[0].index()]);
                model.graph.fully_convolutional(weights, window)
            })();
            self.windows = Some(rewritten.map_err(EngineError::from)?);
        }
        Ok(self.windows.as_ref().expect("it was made if it was missing"))
    }
}

impl Loaded {
    /// Compiles the network, in bytes if that is what it is in.
    ///
    /// # Errors
    /// As [`Engine::inference`].
    pub fn compile(&self, engine: &Engine, shape: InputShape, taps: &[String]) -> Result<Inference> {
        let quantization = self.info.quantization.as_ref();
        Ok(compile(engine, &self.model.graph, &self.weights, quantization, shape, taps)?)
    }
}

fn compile(
    engine: &Engine,
    graph: &Graph,
    weights: &Weights,
    quantization: Option<&Quantization>,
    shape: InputShape,
    taps: &[String],
) -> std::result::Result<Inference, EngineError> {
    match quantization {
        Some(quantization) => engine.quantized_inference(graph, weights, quantization, shape, taps),
        None => engine.inference(graph, weights, shape, taps),
    }
}

/// Name of the node that answers.
fn scores_of(graph: &Graph) -> String {
    graph.node(graph.output()).name.clone()
}

/// Longest file that is taken for a picture.
const MAX_IMAGE_BYTES: usize = 512 << 20;

/// Reads and decodes the picture of a file.
///
/// # Errors
/// When the file cannot be read or holds no picture; the file is named.
pub fn read_image(path: &(impl AsRef<Path> + Sync)) -> Result<RgbImage> {
    let path = path.as_ref();
    let bytes = disk::read(path, MAX_IMAGE_BYTES)?;
    let image = decode(&bytes, &Limits::default()).map_err(|error| match error {
        DataError::Image { problem, .. } => DataError::Image { name: path.display().to_string(), problem },
        other => other,
    });
    Ok(image?)
}
