//! Whatever can be converted, loaded: a network, its weights, and what is known of its pictures.

use std::path::{Path, PathBuf};

use residuum_classify::{Head, LoadOptions, Loaded, ModelInfo, load_model, numbers};
use residuum_data::Preprocess;
use residuum_formats::{caffe as files, disk};
use residuum_graph::{Graph, Weights};
use residuum_models::{Model, find};

use crate::caffe::{self, Network};
use crate::error::{ConvertError, Result};

/// What the source does not say itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConvertOptions<'a> {
    /// Name of the network: needed for a foreign file of weights, checked for one that says it itself.
    pub model: Option<&'a str>,
    /// The definition of a Caffe model; without it the one beside the weights, of the same name or the only
    /// one there.
    pub prototxt: Option<&'a Path>,
    /// What a Caffe model subtracts from its pictures.
    pub mean: Option<Mean<'a>>,
}

/// What a Caffe model subtracts from its pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mean<'a> {
    /// A mean image (`.binaryproto`); of one that has not the size of the network's pictures, the mean of each
    /// colour is taken.
    File(&'a Path),
    /// Blue, green, red, from 0 to 255.
    Values([f64; 3]),
}

/// A network to be converted, with everything that the result needs.
#[derive(Clone, Debug)]
pub struct Source {
    /// The network as it will be saved.
    pub loaded: Loaded,
    /// The network as the source writes it, to compare with: for a Caffe model the graph of its definition,
    /// else that of the registered network.
    pub graph: Graph,
    /// The values of its parameters.
    pub weights: Weights,
}

/// Loads a source: a Caffe model where the file's name ends in `.caffemodel`, else whatever
/// [`load_model`] loads.
///
/// # Errors
/// When a file cannot be read or breaks its rules, the network is none of the registered ones, or the options
/// do not go with the source.
pub fn load(path: impl AsRef<Path>, options: &ConvertOptions<'_>) -> Result<Source> {
    let path = path.as_ref();
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("caffemodel")) {
        return load_caffe(path, options);
    }
    if options.prototxt.is_some() || options.mean.is_some() {
        return Err(ConvertError::file(path, "a definition and a mean belong to a .caffemodel only"));
    }
    let loaded = load_model(path, &LoadOptions { model: options.model, head: Head::Keep })?;
    loaded.require_floats("convert")?;
    Ok(Source { graph: loaded.model.graph.clone(), weights: loaded.weights.clone(), loaded })
}

fn load_caffe(path: &Path, options: &ConvertOptions<'_>) -> Result<Source> {
    let prototxt = options.prototxt.map_or_else(|| definition_beside(path), |path| Ok(path.to_owned()))?;
    let definition = files::read_definition(&prototxt)?;
    let network = caffe::network(&definition).map_err(|e| e.in_file(&prototxt))?;
    let model = registered(&network, &prototxt, options.model)?;
    let [h, w] = network.input;
    if h != w {
        let problem = format!("expected square images, found {h}×{w}");
        return Err(ConvertError::file(&prototxt, problem));
    }
    let weights = network.weights(&files::read_weights(path)?).map_err(|e| e.in_file(path))?;

    let mut notes: Vec<String> =
        network.notes.iter().map(|note| format!("{}: {note}", prototxt.display())).collect();
    let preprocess = preparation(options.mean, h, &mut notes)?;
    let classes = model.graph.output_features();
    notes.push(format!("{}: has no names of classes; numbers from 0 to {}", path.display(), classes - 1));
    let info = ModelInfo::new(model.name.clone(), numbers(classes), preprocess);
    let loaded = Loaded { path: path.to_owned(), model, weights: weights.clone(), info, notes };
    Ok(Source { loaded, graph: network.graph, weights })
}

/// The registered network of a definition, which must be the one asked for.
fn registered(network: &Network, prototxt: &Path, asked: Option<&str>) -> Result<Model> {
    let asked = asked.map(find).transpose()?;
    let Some(model) = network.registered()? else {
        let problem = "no registered network computes what this definition says; \
                       `residuum models` lists the registered ones, and only those can be written";
        return Err(ConvertError::file(prototxt, problem));
    };
    match asked {
        Some(asked) if asked.name != model.name => {
            let problem = format!("defines `{}`, not `{}`; leave out --model", model.name, asked.name);
            Err(ConvertError::file(prototxt, problem))
        }
        _ => Ok(model),
    }
}

/// The definition of the same name as the weights, or the only one in their folder.
fn definition_beside(path: &Path) -> Result<PathBuf> {
    let same_name = path.with_extension("prototxt");
    if disk::exists(&same_name) {
        return Ok(same_name);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_definition = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "prototxt");
    let mut found: Vec<PathBuf> =
        disk::list(folder)?.into_iter().map(|entry| entry.path).filter(is_definition).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (found, more) => {
            let count = more + usize::from(found.is_some());
            let problem =
                format!("its definition is needed; name it with --prototxt ({count} .prototxt beside it)");
            Err(ConvertError::file(path, problem))
        }
    }
}

/// How a Caffe model's pictures of `side` x `side` are prepared.
fn preparation(mean: Option<Mean<'_>>, side: usize, notes: &mut Vec<String>) -> Result<Preprocess> {
    let path = match mean {
        Some(Mean::Values(values)) => return Ok(Preprocess::caffe(side, values)),
        Some(Mean::File(path)) => path,
        None => {
            let [b, g, r] = Preprocess::CAFFE_MEAN;
            notes.push(format!(
                "no mean given; that of the published models is taken: blue {b}, green {g}, red {r}"
            ));
            return Ok(Preprocess::caffe(side, Preprocess::CAFFE_MEAN));
        }
    };
    let blob = files::read_mean(path)?;
    if let Some(image) = caffe::mean_image(&blob, side)? {
        return Ok(Preprocess { mean: image.at(side), ..Preprocess::caffe(side, Preprocess::CAFFE_MEAN) });
    }
    let Some((means, farthest)) = caffe::channel_means(&blob)? else {
        let problem =
            format!("expected an image of three planes of finite numbers, found {:?}", blob.shape());
        return Err(ConvertError::file(path, problem));
    };
    notes.push(format!(
        "{}: the mean image has not the {side} x {side} pixels of the network's pictures: its mean of each colour is \
         kept; the image is off it by {farthest:.2} of 255 at most",
        path.display()
    ));
    Ok(Preprocess::caffe(side, means))
}
