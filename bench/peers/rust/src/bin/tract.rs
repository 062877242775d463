//! tract: an ONNX file, optimised for one shape of input.

use peers::Task;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

fn main() -> TractResult<()> {
    let task = Task::from_args()?;
    if task.threads > 1 {
        set_default_executor(Executor::multithread(task.threads));
    }
    let model = tract_onnx::onnx()
        .model_for_path(task.onnx())?
        .with_input_fact(0, f32::fact(task.shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let images: TValue = Tensor::from_shape(&task.shape, &task.images)?.into();
    task.serve(|| Ok(model.run(tvec!(images.clone()))?[0].view().as_slice::<f32>()?.to_vec()))
}
