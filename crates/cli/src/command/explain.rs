//! `residuum explain`: which pixels and places an answer depends on, as pictures and arrays; and, in `whole`,
//! what networks do as a whole.

mod finding;
mod made;
mod methods;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::classify::{Loaded, read_image};
use residuum::engine::Engine;
use residuum::explain::{
    CamMethod, ExplainError, Patch, ReluRule, Subject, class_map, default_layer, gaussian, input_gradient,
    integrated_gradients, occlusion, saliency, smooth_grad, upsample,
};
use residuum::formats::{disk, npy};
use residuum::plot::{Picture, Sheet};
use residuum::tensor::Tensor;
use serde::Serialize;

use self::finding::{Finding, activations, coloured, filters, heat, over, signed};
use self::methods::Methods;
use super::train::listen;
use super::{EngineArgs, load_floats, positive};
use crate::exit::ExitStatus;
use crate::output;
use crate::progress::Progress;

pub(crate) use whole::{Command, run};

/// Flags of the methods for images.
#[derive(Debug, clap::Args)]
struct Args {
    /// Methods for images, separated by commas
    #[arg(value_name = "METHOD", value_parser = methods::Parser, required = true)]
    methods: Option<Methods>,
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL", required = true)]
    model_path: Option<String>,
    /// Images; none are needed for `maximise` and `filters`
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Class to explain, by name or number [default: the most probable]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Layer that class maps, `activations` and `maximise` look at [default: the last map]; `invert` needs one
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Channel of the layer that `maximise` makes an image for, instead of a class
    #[arg(long, value_name = "N", requires = "layer")]
    channel: Option<usize>,
    /// Side of the patch of `occlusion` in pixels [default: an eighth of the image]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    patch: Option<usize>,
    /// Samples of `smooth-grad`, steps of `integrated-gradients` [default: 50] and of `maximise` and `invert`
    /// [default: 200]
    #[arg(long, value_name = "N", value_parser = side)]
    samples: Option<usize>,
    /// Folder for the results
    #[arg(long, short = 'o', value_name = "DIR", default_value = "explanations")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON, one object per picture
    #[arg(long)]
    json: bool,
}

/// What is asked of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Gradient of the score with respect to the image, signed
    Gradient,
    /// Largest magnitude of the gradient over the colours (Simonyan et al. 2013)
    Saliency,
    /// Mean gradient under noise (Smilkov et al. 2017)
    SmoothGrad,
    /// Gradients along the way from the mean image (Sundararajan et al. 2017)
    IntegratedGradients,
    /// Guided backpropagation (Springenberg et al. 2014)
    Guided,
    /// Deconvolution (Zeiler & Fergus 2013)
    Deconv,
    /// Class map weighed by mean gradients (Selvaraju et al. 2016)
    GradCam,
    /// Class map for several objects (Chattopadhay et al. 2017)
    #[value(name = "grad-cam++")]
    GradCamPlusPlus,
    /// Class map of gradient times activation (Draelos & Carin 2020)
    HiresCam,
    /// The same of positive gradients (Jiang et al. 2021)
    LayerCam,
    /// Class map weighed by activations (Fu et al. 2020)
    XgradCam,
    /// First principal axis of the activations, of no class (Muhammad & Yeasin 2020)
    EigenCam,
    /// Class map weighed by scores of masked images (Wang et al. 2019)
    ScoreCam,
    /// Grad-CAM times guided backpropagation
    GuidedGradCam,
    /// What the score loses where a patch hides the image (Zeiler & Fergus 2013)
    Occlusion,
    /// The activations of a layer, one tile a channel
    Activations,
    /// The filters of the first convolution, one tile each
    Filters,
    /// An image that the score of a class or channel is high for (Simonyan et al. 2013)
    Maximise,
    /// An image that has the features of the given one at --layer (Mahendran & Vedaldi 2015)
    Invert,
}

impl Method {
    const fn takes_image(self) -> bool {
        !matches!(self, Self::Filters | Self::Maximise)
    }

    const fn takes_layer(self) -> bool {
        self.cam().is_some() || matches!(self, Self::GuidedGradCam | Self::Activations | Self::Invert)
    }

    const fn cam(self) -> Option<CamMethod> {
        Some(match self {
            Self::GradCam => CamMethod::GradCam,
            Self::GradCamPlusPlus => CamMethod::GradCamPlusPlus,
            Self::HiresCam => CamMethod::HiResCam,
            Self::LayerCam => CamMethod::LayerCam,
            Self::XgradCam => CamMethod::XGradCam,
            Self::EigenCam => CamMethod::EigenCam,
            Self::ScoreCam => CamMethod::ScoreCam,
            _ => return None,
        })
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn side(text: &str) -> Result<usize, String> {
    positive(text, 100_000)
}

/// An image as the network reads it, and as people see it.
struct Subjected {
    name: String,
    prepared: Tensor,
    seen: Picture,
    class: usize,
}

#[derive(Serialize)]
struct Json<'a> {
    method: &'a str,
    image: &'a str,
    class: usize,
    class_name: &'a str,
    picture: &'a str,
    array: &'a str,
}

fn explain(args: Args) -> Result<ExitStatus> {
    // Both are required but where a method for whole networks is named.
    let (Some(Methods(methods)), Some(path)) = (&args.methods, &args.model_path) else {
        bail!("expected METHOD and MODEL; see --help")
    };
    let loaded = load_floats(path, args.model.as_deref(), "explain")?;
    if let (true, Some(method)) = (args.images.is_empty(), methods.iter().find(|m| m.takes_image())) {
        bail!("IMAGE: expected at least one image for {}, found none", method.name());
    }
    let engine = args.engine.engine()?;
    let explainer = Explainer { args: &args, methods, loaded: &loaded, engine: &engine, stop: listen()? };
    explainer.all().or_else(|error| match error.downcast_ref() {
        Some(ExplainError::Stopped) => {
            output::note("stopped; what is done stays");
            Ok(ExitStatus::Interrupted)
        }
        _ => Err(error),
    })
}

struct Explainer<'a> {
    args: &'a Args,
    methods: &'a [Method],
    loaded: &'a Loaded,
    engine: &'a Engine,
    stop: Arc<AtomicBool>,
}

impl Explainer<'_> {
    /// Every method for every image.
    fn all(&self) -> Result<ExitStatus> {
        let args = self.args;
        let images = self.images()?;
        let layer = self.layer()?;
        disk::create_dir_all(&args.out)?;
        let (with_image, alone): (Vec<Method>, Vec<Method>) =
            self.methods.iter().copied().partition(|method| method.takes_image());
        let mut sheet = Sheet {
            title: self.loaded.model.name.clone(),
            columns: std::iter::once("image".to_owned()).chain(with_image.iter().map(|m| m.name())).collect(),
            rows: Vec::new(),
        };
        for image in &images {
            let mut tiles = vec![Some(image.seen.clone())];
            for &method in &with_image {
                let finding = self.explain(method, image, &layer)?;
                self.save(method, Some(image), &finding)?;
                let tile = finding.pictures.into_iter().last().map(|(_, picture)| picture);
                tiles.push(tile.filter(|tile| tile.width() <= 2 * image.seen.width()));
            }
            sheet.rows.push((format!("{}: class {}", image.name, self.class_name(image.class)), tiles));
        }
        for method in alone {
            let finding = match method {
                Method::Filters => filters(self.loaded)?,
                _ => self.maximise()?,
            };
            self.save(method, None, &finding)?;
        }
        if images.len() * with_image.len() > 1 {
            let path = args.out.join("sheet.png");
            disk::write_bytes(&path, &sheet.png()?)?;
            output::note(&format!("contact sheet {}", path.display()));
        }
        Ok(ExitStatus::Done)
    }

    fn class_name(&self, class: usize) -> &str {
        &self.loaded.info.class_names[class]
    }

    /// Shows how far a method is, and whether it may go on.
    fn tell(&self, method: Method, name: &str) -> impl FnMut(usize, usize) -> bool {
        let (stop, what, name) = (Arc::clone(&self.stop), method.name(), name.to_owned());
        let mut progress: Option<Progress> = None;
        move |done, all| {
            progress.get_or_insert_with(|| Progress::new(&what, all as u64)).set(done as u64, &name);
            !stop.load(Ordering::Relaxed)
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { engine: self.engine, graph: &self.loaded.model.graph, weights: &self.loaded.weights }
    }

    /// The class that was named, by name or number.
    fn named_class(&self) -> Result<Option<usize>> {
        let Some(asked) = &self.args.class else { return Ok(None) };
        let names = &self.loaded.info.class_names;
        let by_name = names.iter().position(|name| name.eq_ignore_ascii_case(asked));
        let by_number = || asked.parse().ok().filter(|&class| class < names.len());
        if let Some(class) = by_name.or_else(by_number) {
            return Ok(Some(class));
        }
        let shown: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
        let more = if names.len() > shown.len() { ", …" } else { "" };
        bail!("--class: expected a class of the model ({}{more}), found {asked}", shown.join(", "))
    }

    fn images(&self) -> Result<Vec<Subjected>> {
        let named = self.named_class()?;
        let preprocess = &self.loaded.info.preprocess;
        let side = preprocess.crop;
        let mut images = Vec::with_capacity(self.args.images.len());
        for path in &self.args.images {
            let values = preprocess.apply(&read_image(path)?);
            let seen = Picture::new(side, side, preprocess.restore(&values).into_pixels());
            let prepared = Tensor::new([1, 3, side, side], values)?;
            let class = match named {
                Some(class) => class,
                None => best(&self.subject().logits(&prepared)?),
            };
            images.push(Subjected { name: stem(path), prepared, seen, class });
        }
        Ok(images)
    }

    /// The layer that is looked at; the images themselves where no method looks at one.
    fn layer(&self) -> Result<String> {
        let (subject, args) = (self.subject(), self.args);
        let takes = |method: &&Method| {
            method.takes_layer() || (**method == Method::Maximise && args.channel.is_some())
        };
        let Some(method) = self.methods.iter().find(takes) else { return Ok("input".to_owned()) };
        let inverts = self.methods.contains(&Method::Invert);
        let fallback = || default_layer(&subject).filter(|_| !inverts);
        let Some(layer) = args.layer.clone().or_else(fallback) else {
            let (method, modules) = (if inverts { Method::Invert } else { *method }, subject.map_modules());
            let why = if inverts { "found none" } else { "since the network pools no map" };
            bail!("--layer: expected a layer for {}, {why}; there are {}", method.name(), modules.join(", "))
        };
        subject.map_layer(&layer)?;
        Ok(layer)
    }

    fn samples(&self) -> usize {
        self.args.samples.unwrap_or(50)
    }

    fn explain(&self, method: Method, image: &Subjected, layer: &str) -> Result<Finding> {
        let subject = self.subject();
        let (x, class) = (&image.prepared, image.class);
        let tell = self.tell(method, &image.name);
        if let Some(cam) = method.cam() {
            return Ok(over(&image.seen, class_map(&subject, x, class, layer, cam, tell)?));
        }
        let gradient = |rule| input_gradient(&subject, x, &[class], rule);
        Ok(match method {
            Method::Gradient => signed(gradient(ReluRule::Derivative)?),
            Method::Saliency => heat(saliency(&gradient(ReluRule::Derivative)?)),
            Method::SmoothGrad => {
                let noise = gaussian(0, &[&[self.samples()], &x.shape()[1..]].concat());
                heat(saliency(&smooth_grad(&subject, x, class, 0.15, &noise, tell)?))
            }
            Method::IntegratedGradients => {
                let baseline = Tensor::filled(x.shape().to_vec(), 0.0);
                let steps = self.samples();
                signed(integrated_gradients(&subject, x, &baseline, class, steps, tell)?.attribution)
            }
            Method::Guided => coloured(gradient(ReluRule::Guided)?),
            Method::Deconv => coloured(gradient(ReluRule::Deconvolution)?),
            Method::GuidedGradCam => {
                let map = class_map(&subject, x, class, layer, CamMethod::GradCam, tell)?;
                let map = upsample(&map, image.seen.height(), image.seen.width());
                let mut guided = gradient(ReluRule::Guided)?;
                let area = map.len();
                guided.data_mut().iter_mut().enumerate().for_each(|(i, g)| *g *= map.data()[i % area]);
                coloured(guided)
            }
            Method::Occlusion => {
                let size = self.args.patch.unwrap_or((image.seen.height() / 8).max(1));
                let patch = Patch { size, stride: (size / 2).max(1), fill: 0.0 };
                finding::lost(&image.seen, occlusion(&subject, x, class, patch, tell)?)
            }
            Method::Invert => self.invert(image, layer)?,
            _ => activations(subject.values(x, &[layer.to_owned()])?.remove(0), layer)?,
        })
    }

    /// Writes a labelled picture and the array.
    fn save(&self, method: Method, image: Option<&Subjected>, finding: &Finding) -> Result<()> {
        let model = &self.loaded.model.name;
        let name = image.map_or(model, |image| &image.name);
        let class = image
            .map_or_else(|| self.named_class().map(|class| class.unwrap_or(0)), |image| Ok(image.class))?;
        let base = format!("{name}.{}", method.name());
        let (picture, array) =
            (self.args.out.join(format!("{base}.png")), self.args.out.join(format!("{base}.npy")));
        let original = image.map(|image| ("image".to_owned(), image.seen.clone()));
        let (columns, tiles) = original
            .into_iter()
            .chain(finding.pictures.clone())
            .map(|(name, tile)| (name, Some(tile)))
            .unzip();
        let about = self.about(method, class);
        let sheet =
            Sheet { title: format!("{}, {model}", method.name()), columns, rows: vec![(about, tiles)] };
        disk::write_bytes(&picture, &sheet.png()?)?;
        npy::write_f32(&array, &finding.array)?;
        let (picture, array) = (picture.display().to_string(), array.display().to_string());
        if self.args.json {
            let class_name = self.class_name(class);
            let (method, image, picture, array) = (&method.name(), name, &picture, &array);
            return output::json("explain", Json { method, image, class, class_name, picture, array });
        }
        output::data(&picture)
    }

    /// What a picture is about: class, layer, channel, as far as the method looks at them.
    fn about(&self, method: Method, class: usize) -> String {
        let layer = || self.layer().unwrap_or_default();
        let channel = self.args.channel.filter(|_| method == Method::Maximise);
        match (method, channel) {
            (Method::Filters, _) => "first convolution".to_owned(),
            (Method::Activations | Method::EigenCam | Method::Invert, _) => format!("layer {}", layer()),
            (_, Some(channel)) => format!("layer {}, channel {channel}", layer()),
            _ if method.takes_layer() => format!("class {}, layer {}", self.class_name(class), layer()),
            _ => format!("class {}", self.class_name(class)),
        }
    }
}

/// The class of the largest logit.
fn best(logits: &Tensor) -> usize {
    let first = (0, f32::NEG_INFINITY);
    logits.data().iter().enumerate().fold(first, |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy().into_owned())
}
