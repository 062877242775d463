//! Blobs by name become values by number: a layer that writes the blob it reads makes a new value, and the
//! name means that one from there on.

use std::collections::HashMap;

use residuum_formats::caffe::{Definition, Layer, Operation};

use crate::error::{ConvertError, Result};

/// What a value comes from: the images, or a layer by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Images,
    Layer(usize),
}

/// The layers of a definition with what each reads.
pub(super) struct Flow<'a> {
    /// Layers that compute, in the file's order; those that only pass a value on are gone.
    pub(super) steps: Vec<Step<'a>>,
    /// What answers: the one value that nobody reads.
    pub(super) output: Origin,
    /// Channels, rows and columns of the images.
    pub(super) images: [usize; 3],
    pub(super) notes: Vec<String>,
}

/// A layer with the origins of what it reads.
pub(super) struct Step<'a> {
    pub(super) layer: &'a Layer,
    pub(super) inputs: Vec<Origin>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(definition: &'a Definition) -> Result<Self> {
        let images = images(definition)?;
        let mut blobs: HashMap<&str, Origin> =
            definition.inputs.iter().map(|input| (input.blob.as_str(), Origin::Images)).collect();
        let mut steps: Vec<Step<'a>> = Vec::new();
        let (mut notes, mut softmax) = (Vec::new(), None);
        for layer in &definition.layers {
            let find = |blob: &String| {
                let unknown =
                    || ConvertError::layer(&layer.name, format!("reads `{blob}`, which nobody wrote"));
                blobs.get(blob.as_str()).copied().ok_or_else(unknown)
            };
            let inputs: Vec<Origin> = layer.bottoms.iter().map(find).collect::<Result<_>>()?;
            check_arity(layer)?;
            let origin = match (&layer.operation, &inputs[..]) {
                (Operation::Dropout | Operation::Split, &[input]) => input,
                (Operation::Softmax, &[input]) => {
                    softmax = Some((layer, input));
                    notes.push(format!(
                        "layer `{}`: the softmax is left out; the network answers with logits",
                        layer.name
                    ));
                    input
                }
                _ => {
                    steps.push(Step { layer, inputs });
                    Origin::Layer(steps.len() - 1)
                }
            };
            blobs.extend(layer.tops.iter().map(|top| (top.as_str(), origin)));
        }
        let output = output(&steps)?;
        if let Some((layer, _)) = softmax.filter(|&(_, input)| input != output) {
            return Err(ConvertError::layer(&layer.name, "expected a softmax at the end only"));
        }
        Ok(Self { steps, output, images, notes })
    }

    /// For every step, how many read it.
    pub(super) fn users(&self) -> Vec<usize> {
        users(&self.steps)
    }
}

fn users(steps: &[Step<'_>]) -> Vec<usize> {
    let mut users = vec![0; steps.len()];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        if let Origin::Layer(index) = input {
            users[*index] += 1;
        }
    }
    users
}

/// The sides of the one input, without the number of images.
fn images(definition: &Definition) -> Result<[usize; 3]> {
    match &definition.inputs[..] {
        [input] => match input.shape[..] {
            [_, c, h, w] if c * h * w > 0 => Ok([c, h, w]),
            _ => {
                let problem = format!("expected a shape of [n, channels, h, w], found {:?}", input.shape);
                Err(ConvertError::layer(&input.blob, problem))
            }
        },
        inputs => {
            let problem = format!("expected one input of images with its shape, found {}", inputs.len());
            Err(ConvertError::layer(&definition.name, problem))
        }
    }
}

fn check_arity(layer: &Layer) -> Result<()> {
    let tops_fit = match layer.operation {
        Operation::Split => !layer.tops.is_empty(),
        _ => layer.tops.len() == 1,
    };
    let bottoms_fit = match layer.operation {
        Operation::Eltwise(_) | Operation::Concat { .. } => layer.bottoms.len() >= 2,
        _ => layer.bottoms.len() == 1,
    };
    if tops_fit && bottoms_fit {
        return Ok(());
    }
    let (bottoms, tops) = (layer.bottoms.len(), layer.tops.len());
    Err(ConvertError::layer(&layer.name, format!("cannot be read with {bottoms} inputs and {tops} outputs")))
}

fn output(steps: &[Step<'_>]) -> Result<Origin> {
    let users = users(steps);
    let unread: Vec<usize> = (0..steps.len()).filter(|&index| users[index] == 0).collect();
    match unread[..] {
        [index] => Ok(Origin::Layer(index)),
        [] => Ok(Origin::Images),
        [first, second, ..] => {
            let problem = format!("expected one answer; `{}` ends here too", steps[first].layer.name);
            Err(ConvertError::layer(&steps[second].layer.name, problem))
        }
    }
}
