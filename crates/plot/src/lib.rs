//! Charts, side by side, as SVG for the page, PNG for everything else, and CSV for those who draw their own.
//!
//! A [`Figure`] holds [`Chart`]s, a chart [`Series`] of points over two [`Axis`]es, and perhaps a [`Field`] of
//! values at the nodes of a grid, as a map, with contours, or as a surface. It is drawn once, by
//! one layout, on a canvas of which there are two: one writes SVG with text as text, one paints pixels and
//! writes text in a small line font that this crate brings along, so that no font of the machine is needed.
//! The same figure gives the same bytes everywhere. Arrays become a [`Picture`] in colours that the colour
//! blind tell apart, and pictures a [`Sheet`] with names. A [`Diagram`] draws a network as a column of boxes.
//!
//! ```
//! use residuum_plot::{Axis, Chart, Figure, Line, Series};
//!
//! let error = vec![(0.0, 90.0), (100.0, 40.0), (200.0, 25.0)];
//! let mut chart = Chart::new(Axis::new("iterations"), Axis::new("error in %").from_zero());
//! chart.series.push(Series::new("resnet20", 0, Line::Solid, error));
//! let figure = Figure::new("Error of a residual net", vec![chart]);
//! assert!(figure.svg().starts_with("<svg"));
//! assert_eq!(&figure.png()?[1..4], b"PNG");
//! # Ok::<(), residuum_plot::PlotError>(())
//! ```
#![forbid(unsafe_code)]

mod axis;
mod canvas;
mod chart;
mod contour;
mod diagram;
mod error;
mod field;
mod figure;
mod font;
mod legend;
mod mark;
mod picture;
mod raster;
mod sheet;
mod surface;
mod svg;

pub use axis::{Axis, Scale};
pub use canvas::PALETTE;
pub use chart::{Chart, Line, Series};
pub use diagram::{BoxShape, Chain, Column, Diagram, DiagramArc, DiagramBox, Group};
pub use error::PlotError;
pub use field::{Field, View};
pub use figure::{Figure, csv_field};
pub use picture::Picture;
pub use sheet::Sheet;
