//! One network's answers for the views of a batch, averaged for each picture.

use residuum_data::Stack;
use residuum_engine::InputShape;

use super::{EvaluateOptions, Positions};
use crate::classifier::{Classifier, Form};
use crate::error::Result;
use crate::score::{Average, Mean, widen};

/// How all batches are answered for.
pub(super) struct Answering {
    average: Average,
    form: Form,
    /// Views in a batch of the network's own size; none where sizes differ.
    own_size: Option<usize>,
    /// Scales that a network must admit.
    scales: Vec<usize>,
}

impl Answering {
    /// For batches of at most `pictures`.
    pub(super) fn new(options: &EvaluateOptions, pictures: usize) -> Self {
        let views = &options.views;
        let is_windows = options.positions == Positions::Windows && !views.are_of_one_size();
        let scales = match &views.crops {
            residuum_data::Crops::Scales(scales) => scales.clone(),
            _ => Vec::new(),
        };
        Self {
            average: options.average,
            form: if is_windows { Form::Windows } else { Form::Whole },
            own_size: views.are_of_one_size().then(|| pictures * views.count()),
            scales,
        }
    }

    /// Compiles what is known before the first picture is seen, and refuses what cannot work.
    pub(super) fn compile(&self, member: &mut Classifier) -> Result<()> {
        let crop = member.loaded().info.preprocess.crop;
        match self.own_size {
            Some(n) => member.program_of(self.form, InputShape { n, h: crop, w: crop }).map(|_| ()),
            None => self.scales.iter().try_for_each(|&scale| member.check_side(self.form, scale)),
        }
    }

    /// Scores for each of `pictures` pictures, whose softmax is the probabilities.
    pub(super) fn answer(
        &self,
        member: &mut Classifier,
        stacks: &mut [Stack],
        pictures: usize,
    ) -> Result<Vec<Vec<f64>>> {
        let mut means = vec![Mean::new(self.average); pictures];
        for stack in stacks {
            let Stack { h, w, views, ref mut pixels } = *stack;
            let n = self.own_size.unwrap_or(pictures * views);
            // A last batch of fewer pictures is filled up; nobody looks at the answers for what fills it.
            pixels.resize(n * 3 * h * w, 0.0);
            let classes = member.loaded().classes();
            let program = member.program_of(self.form, InputShape { n, h, w })?;
            let logits = program.run(pixels);
            let mean_of_view = |view: usize| view / views;
            match self.form {
                Form::Whole => {
                    let answers = logits.chunks_exact(classes).take(pictures * views);
                    answers.enumerate().for_each(|(view, x)| means[mean_of_view(view)].add(&widen(x)));
                }
                Form::Windows => {
                    let map = member.window_scores(InputShape { n, h, w })?;
                    let positions = map.len() / (n * classes);
                    for view in 0..pictures * views {
                        let scores = &map.data()[view * classes * positions..][..classes * positions];
                        means[mean_of_view(view)].add(&self.over_positions(scores, positions));
                    }
                }
            }
        }
        Ok(means.iter().map(Mean::scores).collect())
    }

    /// The mean over the positions of one view's map, which lies class by class.
    fn over_positions(&self, map: &[f32], positions: usize) -> Vec<f64> {
        let mut mean = Mean::new(self.average);
        for position in 0..positions {
            let scores: Vec<f64> =
                map.iter().skip(position).step_by(positions).map(|&x| f64::from(x)).collect();
            mean.add(&scores);
        }
        mean.scores()
    }
}
