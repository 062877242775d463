//! Residual networks in Rust: build, train, evaluate, predict, convert, on a CPU.
//!
//! This crate is the one API that is promised: it re-exports the rooms of the house and adds nothing.
//!
//! | module | what it is for |
//! |---|---|
//! | [`models`] | the papers' networks by name |
//! | [`graph`] | a network as data: operations, parameters, counting, printing, rewriting |
//! | [`engine`] | compiles a network for a size of batch, and runs or trains it |
//! | [`data`] | data sets, decoding, preparation, batches |
//! | [`formats`] | safetensors, PyTorch's `.pth`, Caffe's files, `.npy` arrays; the door to the disk |
//! | [`classify`] | model files, prediction, evaluation |
//! | [`convert`] | other programs' models to ours and back, verified by numbers |
//! | [`explain`] | looking inside: attributions, class maps, lesions, landscapes |
//! | [`plot`] | charts, pictures and contact sheets |
//! | [`train`] | recipes, the training loop, checkpoints, run folders |
//! | [`experiments`] | the papers' experiments end to end |
//! | [`tensor`] | dense tensors |
//!
//! # A network in memory
//!
//! ```
//! use residuum::classify::{Classifier, EvaluateOptions, Loaded};
//! use residuum::data::{Preprocess, Split, shapes};
//! use residuum::engine::{Engine, EngineOptions};
//! use residuum::models;
//!
//! let data = shapes(0, Split::Test).subset(&[0, 1, 2, 3]);
//! let model = models::build("cifar_resnet20", Some(data.classes().len()))?;
//! let weights = models::initialise(&model.graph, 0);
//! let loaded = Loaded::new(model, weights, data.classes().to_vec(), Preprocess::cifar10());
//!
//! let engine = Engine::new(&EngineOptions::default())?;
//! let mut classifier = Classifier::new(engine, loaded);
//! let evaluation = classifier.evaluate(&data, &EvaluateOptions::default(), |_| ())?;
//! assert_eq!(evaluation.images, 4);
//!
//! let best = &classifier.predict(&[data.image(0)?], 3)?[0];
//! assert!(best[0].probability >= best[1].probability);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A network from a file
//!
//! [`classify::load_model`] reads a run folder, a model file of ours, or a foreign file of weights whose
//! network is named:
//!
//! ```no_run
//! use residuum::classify::{Head, LoadOptions, load_model};
//!
//! let options = LoadOptions { model: Some("resnet50.tv"), head: Head::Keep };
//! let loaded = load_model("resnet50-0676ba61.pth", &options)?;
//! println!("{} classes; {}", loaded.classes(), loaded.notes.join("; "));
//! # Ok::<(), residuum::classify::ClassifyError>(())
//! ```
//!
//! Same inputs, same seed and same instruction set give the same bits, whatever the number of threads.
#![forbid(unsafe_code)]

pub use residuum_classify as classify;
pub use residuum_convert as convert;
pub use residuum_data as data;
pub use residuum_engine as engine;
pub use residuum_experiments as experiments;
pub use residuum_explain as explain;
pub use residuum_formats as formats;
pub use residuum_graph as graph;
pub use residuum_models as models;
pub use residuum_plot as plot;
pub use residuum_tensor as tensor;
pub use residuum_train as train;

/// The README's program, compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
