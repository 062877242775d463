//! From the fields of a `.prototxt` to a [`Definition`]: names, types and defaults of Caffe's schema.

use std::collections::HashSet;

use super::MAX_LAYERS;
use super::definition::{
    Convolution, Definition, Eltwise, EltwiseOperation, InnerProduct, Input, Layer, Operation, Pool, Pooling,
    Scale,
};
use super::text::{Field, Message, Value};
use super::weights::OLD_KINDS;
use crate::error::{FormatError, Result};

/// Largest number of channels or outputs, and the largest side of an image. With [`MAX_WINDOW`] no product
/// of sides overflows.
const MAX_SIDE: usize = 1 << 20;
/// Largest side, step, padding or distance of a window.
const MAX_WINDOW: usize = 1 << 10;
const MAX_RANK: usize = 32;

const NET_FIELDS: [&str; 9] =
    ["name", "input", "input_dim", "input_shape", "layer", "layers", "force_backward", "state", "debug_info"];

/// Fields of a layer beside its `…_param`: those that are read, and those that only training needs.
const LAYER_FIELDS: [&str; 13] = [
    "name",
    "type",
    "bottom",
    "top",
    "include",
    "exclude",
    "phase",
    "param",
    "blobs_lr",
    "weight_decay",
    "loss_weight",
    "propagate_down",
    "layer",
];

pub(super) fn definition(net: &Message<'_>) -> Result<Definition> {
    net.only(&NET_FIELDS)?;
    let mut definition = Definition { name: net.text("name")?, inputs: inputs(net)?, layers: Vec::new() };
    let old = net.all("layers").next();
    if let (Some(old), Some(_)) = (old, net.all("layer").next()) {
        let message = "both `layer` and `layers` in one file; expected one of the two encodings";
        return Err(old.error(FormatError::refused, message));
    }
    let fields: Vec<&Field<'_>> = net.all(if old.is_some() { "layers" } else { "layer" }).collect();
    if fields.len() > MAX_LAYERS {
        return Err(FormatError::limit(
            "",
            format!("{} layers, at most {MAX_LAYERS} are allowed", fields.len()),
        ));
    }
    for field in fields {
        read_layer(field, &mut definition)?;
    }
    if definition.layers.is_empty() {
        return Err(FormatError::unsupported("", "expected a network with layers (.prototxt), found none"));
    }
    let mut seen = HashSet::new();
    match definition.layers.iter().find(|layer| !seen.insert(layer.name.as_str())) {
        None => Ok(definition),
        Some(layer) => {
            let message = "expected one layer of this name, found a second; weights are found by it";
            Err(FormatError::malformed(format!("layer `{}`", layer.name), message))
        }
    }
}

/// `input` with its shape, either four `input_dim` or one `input_shape` each.
fn inputs(net: &Message<'_>) -> Result<Vec<Input>> {
    let blobs = net.texts("input")?;
    let mut shapes: Vec<Vec<usize>> = net.all("input_shape").map(shape).collect::<Result<_>>()?;
    let dims = net.sizes("input_dim", MAX_SIDE)?;
    if shapes.is_empty() {
        let (quads, rest) = dims.as_chunks::<4>();
        if !rest.is_empty() {
            let message = format!("expected four for each input, found {}", dims.len());
            return Err(FormatError::malformed("`input_dim`", message));
        }
        shapes = quads.iter().map(|quad| quad.to_vec()).collect();
    }
    if shapes.len() != blobs.len() {
        let message =
            format!("expected a shape for each of the {} inputs, found {}", blobs.len(), shapes.len());
        return Err(FormatError::malformed("`input`", message));
    }
    Ok(blobs.into_iter().zip(shapes).map(|(blob, shape)| Input { blob, shape }).collect())
}

fn shape(field: &Field<'_>) -> Result<Vec<usize>> {
    let message = field.message()?;
    message.only(&["dim"])?;
    let dims = message.sizes("dim", MAX_SIDE)?;
    if dims.len() > MAX_RANK {
        return Err(field.error(FormatError::limit, &format!("more than {MAX_RANK} sides")));
    }
    Ok(dims)
}

/// Adds one layer, or the inputs that it is, or nothing where it is not for testing.
fn read_layer(field: &Field<'_>, definition: &mut Definition) -> Result<()> {
    let message = field.message()?;
    let name = message.text("name")?;
    let place = |e: FormatError| e.within(&format!("layer `{name}`"));
    let unknown =
        message.fields.iter().find(|f| !LAYER_FIELDS.contains(&f.name) && !f.name.ends_with("_param"));
    if let Some(unknown) = unknown {
        return Err(place(unknown.error(FormatError::unsupported, "this field is not understood")));
    }
    if let Some(oldest) = message.all("layer").next() {
        let advice = "the encoding of Caffe's first days; upgrade the file with `upgrade_net_proto_text`";
        return Err(oldest.error(FormatError::unsupported, advice));
    }
    if !is_for_testing(message).map_err(place)? {
        return Ok(());
    }
    let kind = kind(field, message).map_err(place)?;
    let (bottoms, tops) = (message.texts("bottom")?, message.texts("top")?);
    if kind == "Input" {
        return read_input(message, tops, definition).map_err(place);
    }
    if name.is_empty() {
        return Err(field.error(FormatError::malformed, "a layer without a name; weights are found by it"));
    }
    let operation = operation(&kind, message).map_err(place)?;
    definition.layers.push(Layer { name, bottoms, tops, operation });
    Ok(())
}

/// The type: a text today, a word of a list before.
fn kind(layer: &Field<'_>, message: &Message<'_>) -> Result<String> {
    let missing = || layer.error(FormatError::malformed, "a layer without a type");
    let field = message.one("type")?.ok_or_else(missing)?;
    match (&field.value, layer.name) {
        (Value::Text(kind), "layer") => Ok(kind.clone()),
        (Value::Word(word), "layers") => {
            let known = OLD_KINDS.iter().find(|(_, known, _)| known == word);
            Ok(known.map_or(*word, |(_, _, kind)| kind).to_owned())
        }
        (_, "layer") => Err(field.unexpected("the type as a text in quotes")),
        _ => Err(field.unexpected("the type as a word without quotes")),
    }
}

/// Whether the rules of a layer let it take part while testing: none of `include`, or one that holds, and
/// none of `exclude` that holds.
fn is_for_testing(layer: &Message<'_>) -> Result<bool> {
    let holds = |field: &Field<'_>| {
        let rule = field.message()?;
        rule.only(&["phase"])?;
        Ok(rule.word("phase", "TEST")? == "TEST")
    };
    let includes: Vec<bool> = layer.all("include").map(holds).collect::<Result<_>>()?;
    let excludes: Vec<bool> = layer.all("exclude").map(holds).collect::<Result<_>>()?;
    Ok((includes.is_empty() || includes.contains(&true)) && !excludes.contains(&true))
}

/// A layer of the type `Input`: a shape for each of its tops, or one for all.
fn read_input(message: &Message<'_>, tops: Vec<String>, definition: &mut Definition) -> Result<()> {
    let param = message.message("input_param")?;
    param.only(&["shape"])?;
    let shapes: Vec<Vec<usize>> = param.all("shape").map(shape).collect::<Result<_>>()?;
    if shapes.len() != tops.len() && shapes.len() != 1 {
        let problem =
            format!("expected a shape for each of the {} inputs, found {}", tops.len(), shapes.len());
        return Err(FormatError::malformed("`input_param`", problem));
    }
    let shapes = shapes.iter().cycle().cloned();
    definition.inputs.extend(tops.into_iter().zip(shapes).map(|(blob, shape)| Input { blob, shape }));
    Ok(())
}

fn operation(kind: &str, layer: &Message<'_>) -> Result<Operation> {
    Ok(match kind {
        "Convolution" => Operation::Convolution(convolution(&layer.message("convolution_param")?)?),
        "BatchNorm" => {
            let param = layer.message("batch_norm_param")?;
            param.only(&["use_global_stats", "moving_average_fraction", "eps"])?;
            Operation::BatchNorm {
                eps: param.number("eps", 1e-5)?,
                uses_stored: param.flag("use_global_stats", true)?,
            }
        }
        "Scale" => Operation::Scale(scale(&layer.message("scale_param")?)?),
        "ReLU" => {
            let param = layer.message("relu_param")?;
            param.only(&["negative_slope", "engine"])?;
            Operation::Relu { negative_slope: param.number("negative_slope", 0.0)? }
        }
        "Pooling" => Operation::Pooling(pooling(&layer.message("pooling_param")?)?),
        "Eltwise" => Operation::Eltwise(eltwise(&layer.message("eltwise_param")?)?),
        "InnerProduct" => Operation::InnerProduct(inner_product(&layer.message("inner_product_param")?)?),
        "Concat" => {
            let param = layer.message("concat_param")?;
            param.only(&["axis", "concat_dim"])?;
            let axis = param.size("axis", MAX_RANK)?.or(param.size("concat_dim", MAX_RANK)?);
            Operation::Concat { axis: axis.unwrap_or(1) }
        }
        "Softmax" => Operation::Softmax,
        "Dropout" => Operation::Dropout,
        "Split" => Operation::Split,
        other => Operation::Other(other.to_owned()),
    })
}

fn convolution(param: &Message<'_>) -> Result<Convolution> {
    param.only(&[
        "num_output",
        "bias_term",
        "pad",
        "pad_h",
        "pad_w",
        "kernel_size",
        "kernel_h",
        "kernel_w",
        "group",
        "stride",
        "stride_h",
        "stride_w",
        "dilation",
        "axis",
        "weight_filler",
        "bias_filler",
        "engine",
        "force_nd_im2col",
    ])?;
    let axis = param.size("axis", MAX_RANK)?;
    if let Some(axis) = axis.filter(|&axis| axis != 1) {
        return Err(FormatError::unsupported("`axis`", format!("expected 1, the channels; found {axis}")));
    }
    let missing = |what: &str| FormatError::malformed(format!("`{what}`"), "expected it, found none");
    Ok(Convolution {
        outputs: param.size("num_output", MAX_SIDE)?.ok_or_else(|| missing("num_output"))?,
        kernel: pair(param, "kernel_size", "kernel")?.ok_or_else(|| missing("kernel_size"))?,
        stride: pair(param, "stride", "stride")?.unwrap_or([1; 2]),
        pad: pair(param, "pad", "pad")?.unwrap_or([0; 2]),
        dilation: pair(param, "dilation", "dilation")?.unwrap_or([1; 2]),
        group: param.size("group", MAX_SIDE)?.unwrap_or(1),
        bias: param.flag("bias_term", true)?,
    })
}

/// Rows and columns: `name` once for both or twice, or `prefix_h` and `prefix_w`.
fn pair(param: &Message<'_>, name: &str, prefix: &str) -> Result<Option<[usize; 2]>> {
    let both = param.sizes(name, MAX_WINDOW)?;
    let h = param.size(&format!("{prefix}_h"), MAX_WINDOW)?;
    let w = param.size(&format!("{prefix}_w"), MAX_WINDOW)?;
    match (&both[..], h, w) {
        ([], None, None) => Ok(None),
        (&[side], None, None) => Ok(Some([side; 2])),
        (&[h, w], None, None) | (&[], Some(h), Some(w)) => Ok(Some([h, w])),
        _ => {
            let message = format!("expected one or two numbers, or `{prefix}_h` and `{prefix}_w` instead");
            Err(FormatError::malformed(format!("`{name}`"), message))
        }
    }
}

fn scale(param: &Message<'_>) -> Result<Scale> {
    param.only(&["axis", "num_axes", "bias_term", "filler", "bias_filler"])?;
    let axes = match param.one("num_axes")? {
        Some(Field { value: Value::Word("-1"), .. }) => None,
        Some(field) => Some(field.size(MAX_RANK)?),
        None => Some(1),
    };
    let axis = param.size("axis", MAX_RANK)?.unwrap_or(1);
    Ok(Scale { axis, axes, bias: param.flag("bias_term", false)? })
}

fn pooling(param: &Message<'_>) -> Result<Pooling> {
    param.only(&[
        "pool",
        "kernel_size",
        "kernel_h",
        "kernel_w",
        "stride",
        "stride_h",
        "stride_w",
        "pad",
        "pad_h",
        "pad_w",
        "global_pooling",
        "round_mode",
        "engine",
    ])?;
    let pool = match param.word("pool", "MAX")? {
        "MAX" | "0" => Pool::Max,
        "AVE" | "1" => Pool::Average,
        other => {
            return Err(FormatError::unsupported("`pool`", format!("expected MAX or AVE, found {other}")));
        }
    };
    let ceil = match param.word("round_mode", "CEIL")? {
        "CEIL" | "0" => true,
        "FLOOR" | "1" => false,
        other => {
            let message = format!("expected CEIL or FLOOR, found {other}");
            return Err(FormatError::unsupported("`round_mode`", message));
        }
    };
    let kernel = pair(param, "kernel_size", "kernel")?;
    if kernel.is_some() == param.flag("global_pooling", false)? {
        let message = "expected either a kernel or `global_pooling: true`";
        return Err(FormatError::malformed("`kernel_size`", message));
    }
    Ok(Pooling {
        pool,
        kernel,
        stride: pair(param, "stride", "stride")?.unwrap_or([1; 2]),
        pad: pair(param, "pad", "pad")?.unwrap_or([0; 2]),
        ceil,
    })
}

fn eltwise(param: &Message<'_>) -> Result<Eltwise> {
    param.only(&["operation", "coeff", "stable_prod_grad"])?;
    let operation = match param.word("operation", "SUM")? {
        "PROD" | "0" => EltwiseOperation::Product,
        "SUM" | "1" => EltwiseOperation::Sum,
        "MAX" | "2" => EltwiseOperation::Maximum,
        other => {
            let message = format!("expected PROD, SUM or MAX, found {other}");
            return Err(FormatError::unsupported("`operation`", message));
        }
    };
    let coefficients = param.all("coeff").map(Field::number).collect::<Result<_>>()?;
    Ok(Eltwise { operation, coefficients })
}

fn inner_product(param: &Message<'_>) -> Result<InnerProduct> {
    param.only(&["num_output", "bias_term", "axis", "transpose", "weight_filler", "bias_filler"])?;
    let outputs = param.size("num_output", MAX_SIDE)?;
    let outputs = outputs.ok_or_else(|| FormatError::malformed("`num_output`", "expected it, found none"))?;
    Ok(InnerProduct {
        outputs,
        bias: param.flag("bias_term", true)?,
        axis: param.size("axis", MAX_RANK)?.unwrap_or(1),
        transposed: param.flag("transpose", false)?,
    })
}
