//! A network with everything around it that an answer needs.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use residuum_data::{DataError, Limits, RgbImage, decode};
use residuum_engine::{Engine, Inference, InputShape};
use residuum_formats::disk;

use crate::error::{ClassifyError, Result};
use crate::load::Loaded;
use crate::score::{softmax, top};

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
/// it.
#[derive(Debug)]
pub struct Classifier {
    engine: Engine,
    loaded: Loaded,
    programs: HashMap<usize, Inference>,
}

impl Classifier {
    /// Puts a network on an engine. Nothing is compiled yet.
    pub fn new(engine: Engine, loaded: Loaded) -> Self {
        Self { engine, loaded, programs: HashMap::new() }
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

    /// The program for batches of `n` prepared pictures.
    pub(crate) fn program(&mut self, n: usize) -> Result<&mut Inference> {
        if !self.programs.contains_key(&n) {
            let Loaded { model, weights, info, .. } = &self.loaded;
            let shape = InputShape { n, h: info.preprocess.crop, w: info.preprocess.crop };
            let program = self.engine.inference(&model.graph, weights, shape, &[])?;
            self.programs.insert(n, program);
        }
        Ok(self.programs.get_mut(&n).expect("it was put there if it was missing"))
    }
}

/// Longest file that is taken for a picture.
const MAX_IMAGE_BYTES: usize = 512 << 20;

/// Reads and decodes the picture of a file.
fn read_image(path: &(impl AsRef<Path> + Sync)) -> Result<RgbImage> {
    let path = path.as_ref();
    let bytes = disk::read(path, MAX_IMAGE_BYTES)?;
    let image = decode(&bytes, &Limits::default()).map_err(|error| match error {
        DataError::Image { problem, .. } => DataError::Image { name: path.display().to_string(), problem },
        other => other,
    });
    Ok(image?)
}
