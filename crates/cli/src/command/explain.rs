//! `residuum explain`: which pixels and places an answer depends on, as pictures and arrays; and, in `whole`,
//! what networks do as a whole.

mod methods;
mod whole;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::classify::{Loaded, read_image};
use residuum::engine::Engine;
use residuum::explain::{
    CamMethod, Maximisation, Patch, ReluRule, Subject, class_map, default_layer, gaussian, input_gradient,
    integrated_gradients, maximise, occlusion, saliency, smooth_grad, upsample,
};
use residuum::formats::{disk, npy};
use residuum::plot::{Picture, Sheet};
use residuum::tensor::Tensor;
use serde::Serialize;

use super::{EngineArgs, load, positive};
use crate::exit::ExitStatus;
use crate::output;
use crate::progress::Progress;
use methods::Methods;

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
    /// Layer that class maps, activations and the like look at [default: the last map]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Side of the patch of `occlusion` in pixels [default: an eighth of the image]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    patch: Option<usize>,
    /// Samples of `smooth-grad`, steps of `integrated-gradients` and `maximise`
    #[arg(long, value_name = "N", default_value = "50", value_parser = side)]
    samples: usize,
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
    /// An image that the class's score is high for (Simonyan et al. 2013)
    Maximise,
}

impl Method {
    const fn takes_image(self) -> bool {
        !matches!(self, Self::Filters | Self::Maximise)
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

/// What a method found.
struct Finding {
    array: Tensor,
    picture: Picture,
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
    let loaded = load(path, args.model.as_deref())?;
    if args.images.is_empty() && methods.iter().any(|method| method.takes_image()) {
        bail!("IMAGE: expected at least one image for {}, found none", methods[0].name());
    }
    let engine = args.engine.engine()?;
    let explainer = Explainer { args: &args, loaded: &loaded, engine: &engine };
    let images = explainer.images()?;
    let layer = explainer.layer()?;
    disk::create_dir_all(&args.out)?;
    let (with_image, alone): (Vec<Method>, Vec<Method>) =
        methods.iter().partition(|method| method.takes_image());
    let mut sheet = Sheet {
        title: format!("{} on {}", names(&with_image), loaded.model.name),
        columns: std::iter::once("image".to_owned()).chain(with_image.iter().map(|m| m.name())).collect(),
        rows: Vec::new(),
    };
    for image in &images {
        let mut tiles = vec![Some(image.seen.clone())];
        for &method in &with_image {
            let finding = explainer.explain(method, image, &layer)?;
            explainer.save(method, &image.name, image.class, &finding)?;
            tiles.push((finding.picture.width() <= 2 * image.seen.width()).then_some(finding.picture));
        }
        let class = &loaded.info.class_names[image.class];
        sheet.rows.push((format!("{}: {class}", image.name), tiles));
    }
    for method in alone {
        explainer.without_image(method)?;
    }
    if images.len() * with_image.len() > 1 {
        let path = args.out.join("sheet.png");
        disk::write_bytes(&path, &sheet.png()?)?;
        output::note(&format!("contact sheet {}", path.display()));
    }
    Ok(ExitStatus::Done)
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ")
}

struct Explainer<'a> {
    args: &'a Args,
    loaded: &'a Loaded,
    engine: &'a Engine,
}

impl Explainer<'_> {
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

    fn layer(&self) -> Result<String> {
        let subject = self.subject();
        let layer = self.args.layer.clone().or_else(|| default_layer(&subject));
        let Some(layer) = layer else { bail!("--layer: the network has no pooled map; name a layer") };
        subject.map_layer(&layer)?;
        Ok(layer)
    }

    fn explain(&self, method: Method, image: &Subjected, layer: &str) -> Result<Finding> {
        let subject = self.subject();
        let (x, class) = (&image.prepared, image.class);
        let [_, _, h, w] = x.shape()[..] else { bail!("images have four dimensions") };
        if let Some(cam) = method.cam() {
            return Ok(over(image, class_map(&subject, x, class, layer, cam)?, h, w));
        }
        let gradient = |rule| input_gradient(&subject, x, &[class], rule);
        Ok(match method {
            Method::Gradient => signed(gradient(ReluRule::Derivative)?, h, w),
            Method::Saliency => {
                let map = saliency(&gradient(ReluRule::Derivative)?);
                let picture = Picture::heat(map.data(), w, h);
                Finding { array: map, picture }
            }
            Method::SmoothGrad => {
                let noise = gaussian(0, &[self.args.samples, 3, h, w]);
                let map = saliency(&smooth_grad(&subject, x, class, 0.15, &noise)?);
                let picture = Picture::heat(map.data(), w, h);
                Finding { array: map, picture }
            }
            Method::IntegratedGradients => {
                let baseline = Tensor::filled(x.shape().to_vec(), 0.0);
                signed(
                    integrated_gradients(&subject, x, &baseline, class, self.args.samples)?.attribution,
                    h,
                    w,
                )
            }
            Method::Guided => coloured(gradient(ReluRule::Guided)?, h, w),
            Method::Deconv => coloured(gradient(ReluRule::Deconvolution)?, h, w),
            Method::GuidedGradCam => {
                let map = upsample(&class_map(&subject, x, class, layer, CamMethod::GradCam)?, h, w);
                let mut guided = gradient(ReluRule::Guided)?;
                let area = h * w;
                guided.data_mut().iter_mut().enumerate().for_each(|(i, g)| *g *= map.data()[i % area]);
                coloured(guided, h, w)
            }
            Method::Occlusion => self.occlude(image, h, w)?,
            _ => self.activations(x, layer)?,
        })
    }

    fn occlude(&self, image: &Subjected, h: usize, w: usize) -> Result<Finding> {
        let size = self.args.patch.unwrap_or((h / 8).max(1));
        let patch = Patch { size, stride: (size / 2).max(1), fill: 0.0 };
        let places = |side: usize| (side.saturating_sub(size)) / patch.stride + 1;
        let mut progress = Progress::new("occlusion", (places(h) * places(w)) as u64);
        let map = occlusion(&self.subject(), &image.prepared, image.class, patch, |done, _| {
            progress.set(done as u64, &image.name);
            true
        })?;
        let large = upsample(&map, h, w);
        let picture = image.seen.under(&Picture::signed(large.data(), w, h));
        Ok(Finding { array: map, picture })
    }

    fn activations(&self, x: &Tensor, layer: &str) -> Result<Finding> {
        let values = self.subject().values(x, &[layer.to_owned()])?.remove(0);
        let [_, channels, h, w] = values.shape()[..] else {
            bail!("{layer}: expected a map, found a vector")
        };
        let area = h * w;
        let tiles: Vec<Picture> =
            values.data().chunks(area).map(|plane| Picture::heat(plane, w, h)).collect();
        let columns = (channels as f64).sqrt().ceil() as usize;
        let picture = Picture::grid(&tiles, columns).enlarged((16 / w.max(1)).max(1));
        Ok(Finding { array: values, picture })
    }

    fn without_image(&self, method: Method) -> Result<()> {
        let subject = self.subject();
        let class = self.named_class()?.unwrap_or(0);
        let finding = if method == Method::Filters {
            filters(self.loaded)?
        } else {
            let side = self.loaded.info.preprocess.crop;
            let start = Tensor::filled([1, 3, side, side], 0.0);
            let options =
                Maximisation { steps: self.args.samples, rate: 1.0, decay: 0.01, jitter: side / 32, seed: 0 };
            let made = maximise(&subject, &start, class, &options)?;
            let picture = Picture::colours(made.image.data(), side, side);
            Finding { array: made.image, picture }
        };
        self.save(method, &self.loaded.model.name, class, &finding)
    }

    fn save(&self, method: Method, image: &str, class: usize, finding: &Finding) -> Result<()> {
        let base = format!("{image}.{}", method.name());
        let (picture, array) =
            (self.args.out.join(format!("{base}.png")), self.args.out.join(format!("{base}.npy")));
        disk::write_bytes(&picture, &finding.picture.png()?)?;
        npy::write_f32(&array, &finding.array)?;
        let (picture, array) = (picture.display().to_string(), array.display().to_string());
        if self.args.json {
            let class_name = &self.loaded.info.class_names[class];
            let (method, picture, array) = (&method.name(), &picture, &array);
            return output::json("explain", Json { method, image, class, class_name, picture, array });
        }
        output::data(&picture)
    }
}

/// A class map, brought to the size of the image and laid over it.
fn over(image: &Subjected, map: Tensor, h: usize, w: usize) -> Finding {
    let large = upsample(&map, h, w);
    let picture = image.seen.under(&Picture::heat(large.data(), w, h));
    Finding { array: map, picture }
}

/// A gradient's sum over the colours in signed colours.
fn signed(gradient: Tensor, h: usize, w: usize) -> Finding {
    let area = h * w;
    let sum = |at: usize| (0..3).map(|colour| gradient.data()[colour * area + at]).sum();
    let map: Vec<f32> = (0..area).map(sum).collect();
    Finding { picture: Picture::signed(&map, w, h), array: gradient }
}

/// A gradient as a picture of its own.
fn coloured(gradient: Tensor, h: usize, w: usize) -> Finding {
    Finding { picture: Picture::colours(gradient.data(), w, h), array: gradient }
}

/// The filters of the first convolution, all on one scale.
fn filters(loaded: &Loaded) -> Result<Finding> {
    let first = loaded.model.graph.params().iter().find(|param| param.shape.len() == 4);
    let Some(weights) = first.and_then(|param| loaded.weights.get(&param.name)) else {
        bail!("{}: expected a convolution, found none", loaded.model.name)
    };
    let [count, channels, h, w] = weights.shape()[..] else { bail!("filters have four dimensions") };
    let columns = (count as f64).sqrt().ceil() as usize;
    let largest = weights.data().iter().fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
    let byte = |x: f32| (127.5 + 127.5 * x / largest).round() as u8;
    let tile = |filter: &[f32]| {
        let value = |colour: usize, at: usize| byte(filter[colour.min(channels - 1) * h * w + at]);
        Picture::new(w, h, (0..h * w).flat_map(|at| [0, 1, 2].map(|colour| value(colour, at))).collect())
    };
    let tiles: Vec<Picture> = weights.data().chunks(channels * h * w).map(|f| tile(f).enlarged(6)).collect();
    Ok(Finding { array: weights.clone(), picture: Picture::grid(&tiles, columns) })
}

/// The class of the largest logit.
fn best(logits: &Tensor) -> usize {
    let first = (0, f32::NEG_INFINITY);
    logits.data().iter().enumerate().fold(first, |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy().into_owned())
}
