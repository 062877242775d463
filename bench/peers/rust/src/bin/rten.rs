//! rten: its own reader of ONNX files and its own kernels.

use std::sync::Arc;

use anyhow::Result;
use peers::Task;
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

fn main() -> Result<()> {
    let task = Task::from_args()?;
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(task.onnx())?;
    let images = NdTensor::<f32, 4>::from_data(task.shape, task.images.clone());
    let threads = Arc::new(ThreadPool::with_num_threads(task.threads));
    task.serve(|| {
        let options = RunOptions::default().with_thread_pool(Some(threads.clone()));
        let answer: NdTensor<f32, 2> = model.run_one(images.view().into(), Some(options))?.try_into()?;
        Ok(answer.to_vec())
    })
}
