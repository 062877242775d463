//! Caffe's files: both encodings, the published definitions, and files that are wrong.

#[path = "support/caffe.rs"]
mod encode;

use std::path::PathBuf;

use encode::{Encoding, LayerFile, blob, bytes, caffemodel, floats, layer, number, old_blob, varint};
use residuum_formats::caffe::{
    Convolution, Definition, Input, Operation, Pool, Pooling, parse_definition, read_definition,
    read_mean_bytes, read_weights_bytes,
};
use residuum_formats::{ErrorKind, FormatError, read_weights_bytes as read_any};
use residuum_tensor::DType;

fn conv(name: &str) -> LayerFile {
    let blobs = vec![(vec![2, 1, 1, 2], vec![1.0, -2.0, 3.0, 0.5]), (vec![2], vec![7.0, 8.0])];
    LayerFile { name: name.into(), kind: "Convolution".into(), blobs }
}

fn weights_error(file: &[u8]) -> FormatError {
    read_weights_bytes(&file.to_vec().into()).unwrap_err()
}

fn definition_error(text: &str) -> FormatError {
    parse_definition(text).unwrap_err()
}

#[test]
fn both_encodings_of_layers_hold_the_same_numbers() {
    let split = LayerFile { name: "x_split".into(), kind: "Split".into(), blobs: Vec::new() };
    let layers = [split, conv("conv1")];
    for (encoding, shape) in [(Encoding::New, vec![2]), (Encoding::Old, vec![1, 1, 1, 2])] {
        let file = caffemodel("net", &layers, encoding);
        let weights = read_weights_bytes(&file.clone().into()).unwrap();
        assert_eq!((weights.name.as_str(), weights.layers.len()), ("net", 2));
        let conv = weights.layer("conv1").unwrap();
        assert_eq!(conv.kind, "Convolution");
        assert_eq!(conv.blobs[0].shape(), [2, 1, 1, 2]);
        assert_eq!(conv.blobs[0].to_f32().unwrap().data(), [1.0, -2.0, 3.0, 0.5]);
        assert_eq!(
            (conv.blobs[1].shape(), conv.blobs[1].to_f64().unwrap().data()),
            (&shape[..], &[7.0, 8.0][..])
        );
        assert!(weights.layer("x_split").unwrap().blobs.is_empty() && weights.layer("conv2").is_none());

        let error = read_any(&file.into()).unwrap_err();
        assert!(error.to_string().contains("residuum convert"), "{error}");
    }
}

#[test]
fn numbers_may_come_in_pieces_one_by_one_and_in_double() {
    let shape = bytes(7, &[number(1, 1), number(1, 3)].concat());
    let single = [varint(5 << 3 | 5), floats(&[3.0])].concat();
    let pieces = [bytes(5, &floats(&[1.0])), shape.clone(), bytes(5, &floats(&[2.0])), single].concat();
    let tensor = read_mean_bytes(&pieces.into()).unwrap();
    assert_eq!((tensor.shape(), tensor.to_f32().unwrap().data()), (&[1, 3][..], &[1.0, 2.0, 3.0][..]));

    let double: Vec<u8> = [0.1f64, 0.2, 0.3].iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensor = read_mean_bytes(&[shape, bytes(8, &double)].concat().into()).unwrap();
    assert_eq!((tensor.dtype(), tensor.to_f64().unwrap().data()), (DType::F64, &[0.1, 0.2, 0.3][..]));
}

#[test]
fn a_mean_file_is_one_blob_whose_missing_sides_are_none() {
    let mean = read_mean_bytes(&old_blob(&[3, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).into()).unwrap();
    assert_eq!(mean.shape(), [1, 3, 1, 2]);
    // Of four sides two are not said, hence 0, and with them the number of elements.
    let short = [number(2, 3), number(3, 1), bytes(5, &floats(&[1.0; 3]))].concat();
    assert!(read_mean_bytes(&short.into()).unwrap_err().to_string().contains("[0, 3, 1, 0]"));
}

#[test]
fn files_of_weights_that_are_wrong_are_told_by_layer() {
    let both = [layer(&conv("a"), Encoding::New), layer(&conv("b"), Encoding::Old)].concat();
    let error = weights_error(&both);
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("`layer` and `layers`"), "{error}");

    let oldest = bytes(2, &bytes(1, &bytes(50, &blob(&[1], &[1.0]))));
    assert!(weights_error(&oldest).to_string().contains("upgrade_net_proto_binary"));

    let twice = caffemodel("", &[conv("a"), conv("b"), conv("a")], Encoding::New);
    assert_eq!(weights_error(&twice).place(), "layer `a`");

    let mut wrong = conv("a");
    wrong.blobs[1].0 = vec![3];
    let error = weights_error(&caffemodel("", &[conv("b"), wrong], Encoding::New)).to_string();
    assert!(error.starts_with("layer 1: `a`: blob 1: ") && error.contains("12 bytes, found 8"), "{error}");

    let huge = bytes(
        100,
        &bytes(7, &[number(1, u64::MAX >> 1), number(2, 1 << 40), bytes(5, &floats(&[1.0]))].concat()),
    );
    assert!(weights_error(&huge).to_string().contains("more bytes than can be counted"));
    let negative = bytes(100, &bytes(7, &number(1, u64::MAX)));
    assert!(weights_error(&negative).to_string().contains("found -1"));
    let torn = bytes(100, &bytes(7, &bytes(5, &[0; 7])));
    assert!(weights_error(&torn).to_string().contains("found 7 bytes"));
    assert_eq!(weights_error(&bytes(100, b"").repeat(10_001)).kind(), ErrorKind::Limit);
    assert_eq!(weights_error(&bytes(100, &bytes(7, b"").repeat(65))).kind(), ErrorKind::Malformed);
    assert_eq!(weights_error(b"").kind(), ErrorKind::Unsupported);
    assert_eq!(weights_error(&bytes(1, b"only a name")).kind(), ErrorKind::Unsupported);
}

#[test]
fn a_file_cut_anywhere_is_refused_or_ends_between_layers() {
    for encoding in [Encoding::New, Encoding::Old] {
        let layers = [conv("a"), conv("b")];
        let whole = caffemodel("net", &layers, encoding);
        let ends: Vec<usize> =
            (1..3).map(|count| caffemodel("net", &layers[..count], encoding).len()).collect();
        for len in 0..whole.len() {
            let read = read_weights_bytes(&whole[..len].to_vec().into());
            assert_eq!(read.is_ok(), ends.contains(&len), "{encoding:?}, {len} of {}", whole.len());
        }
    }
}

const SMALL: &str = r#"
# A network of every kind of field.
name: "small" layer { name: 'data' type: "Input" top: "data" input_param { shape { dim: [1, 3] dim: 8 dim: 9 } } }
layer {
  top: "c"; bottom: "data"
  type: "Convol" "ution", name: "c"
  param { lr_mult: 1 }
  convolution_param: <
    num_output: 4 kernel_h: 3 kernel_w: 5 pad: 1 pad: 2 group: 1 weight_filler { type: "xavier" std: 1e-2 }
  >
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" include { phase: TRAIN } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
"#;

#[test]
fn a_definition_is_read_with_caffes_defaults() {
    let found = parse_definition(SMALL).unwrap();
    assert_eq!((found.name.as_str(), found.layers.len()), ("small", 2));
    assert_eq!(found.inputs, [Input { blob: "data".into(), shape: vec![1, 3, 8, 9] }]);
    let layer = &found.layers[0];
    assert_eq!((&layer.bottoms[..], &layer.tops[..]), (&["data".to_owned()][..], &["c".to_owned()][..]));
    let expected = Convolution {
        outputs: 4,
        kernel: [3, 5],
        stride: [1, 1],
        pad: [1, 2],
        dilation: [1, 1],
        group: 1,
        bias: true,
    };
    assert_eq!(layer.operation, Operation::Convolution(expected));
    let pool = Pooling { pool: Pool::Average, kernel: None, stride: [1; 2], pad: [0; 2], ceil: true };
    assert_eq!(found.layers[1].operation, Operation::Pooling(pool));
}

#[test]
fn the_older_encoding_of_a_definition_has_types_without_quotes() {
    let text = "input: \"x\" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
        layers { name: \"c\" type: INNER_PRODUCT bottom: \"x\" top: \"c\" blobs_lr: 1 inner_product_param { num_output: 2 } }
        layers { name: \"d\" type: HDF5_DATA top: \"e\" }";
    let found = parse_definition(text).unwrap();
    assert!(matches!(&found.layers[0].operation, Operation::InnerProduct(product) if product.bias));
    assert_eq!(found.layers[1].operation, Operation::Other("HDF5_DATA".into()));
}

#[test]
fn definitions_that_are_wrong_are_told_by_line_or_layer() {
    let with = |layer: &str| format!("name: \"n\"\nlayer {{\n{layer}\n}}");
    for (text, kind, part) in [
        (
            with("name: \"a\" type: \"ReLU\" } layers { name: \"b\" type: RELU"),
            ErrorKind::Refused,
            "`layer` and `layers`",
        ),
        (
            with("name: \"a\" type: \"ReLU\" } layer { name: \"a\" type: \"ReLU\""),
            ErrorKind::Malformed,
            "layer `a`",
        ),
        (
            with("name: \"a\" name: \"b\" type: \"ReLU\""),
            ErrorKind::Malformed,
            "line 3: `name`: expected once",
        ),
        (with("name: \"a\" type: RELU"), ErrorKind::Malformed, "a text in quotes"),
        (with("name: \"a\""), ErrorKind::Malformed, "without a type"),
        (with("type: \"ReLU\""), ErrorKind::Malformed, "without a name"),
        (with("name: \"a\" type: \"ReLU\" colour: 3"), ErrorKind::Unsupported, "`colour`"),
        (with("name: \"a\" type: \"ReLU\" relu_param { slope: 3 }"), ErrorKind::Unsupported, "`slope`"),
        (
            with("name: \"a\" type: \"Convolution\" convolution_param { num_output: -3 }"),
            ErrorKind::Malformed,
            "`-3`",
        ),
        (
            with("name: \"a\" type: \"Convolution\" convolution_param { num_output: 3 }"),
            ErrorKind::Malformed,
            "kernel_size",
        ),
        (
            with("name: \"a\" type: \"Pooling\" pooling_param { pool: STOCHASTIC }"),
            ErrorKind::Unsupported,
            "STOCHASTIC",
        ),
        (
            with("name: \"a\" type: \"Pooling\" pooling_param { pool: AVE }"),
            ErrorKind::Malformed,
            "global_pooling",
        ),
        (with("name: \"a"), ErrorKind::Malformed, "closing quote"),
        ("layer {".into(), ErrorKind::Truncated, "within braces"),
        ("layer: {} }".into(), ErrorKind::Malformed, "line 1"),
        ("name \"x\"".into(), ErrorKind::Malformed, "expected `:`"),
        ("input: \"x\" input_dim: 1".into(), ErrorKind::Malformed, "`input_dim`"),
        ("name: \"nothing\"".into(), ErrorKind::Unsupported, "found none"),
        ("a {".repeat(40), ErrorKind::Limit, "within each other"),
        ("layer{}".repeat(10_001), ErrorKind::Limit, "10001 layers"),
    ] {
        let error = definition_error(&text);
        let shown = error.to_string();
        assert!(
            error.kind() == kind && shown.contains(part) && !shown.contains('\n'),
            "{shown}\n{text:.200}"
        );
    }
}

fn count(definition: &Definition, is_of: impl Fn(&Operation) -> bool) -> usize {
    definition.layers.iter().filter(|layer| is_of(&layer.operation)).count()
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn the_published_definitions_have_the_layers_of_their_papers() {
    let folder =
        PathBuf::from(std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA names the shared data"));
    for (depth, layers, convs, relus, sums) in
        [(50, 228, 53, 49, 16), (101, 449, 104, 100, 33), (152, 670, 155, 151, 50)]
    {
        let path = folder.join(format!("data/caffe/ResNet-{depth}-deploy.prototxt"));
        let net = read_definition(path).unwrap();
        assert_eq!((net.name.clone(), net.layers.len()), (format!("ResNet-{depth}"), layers));
        assert_eq!(net.inputs, [Input { blob: "data".into(), shape: vec![1, 3, 224, 224] }]);
        assert_eq!(count(&net, |op| matches!(op, Operation::Convolution(_))), convs);
        assert_eq!(count(&net, |op| matches!(op, Operation::BatchNorm { uses_stored: true, .. })), convs);
        assert_eq!(count(&net, |op| matches!(op, Operation::Scale(scale) if scale.bias)), convs);
        assert_eq!(count(&net, |op| matches!(op, Operation::Relu { .. })), relus);
        assert_eq!(count(&net, |op| matches!(op, Operation::Pooling(pool) if pool.ceil)), 2);
        assert_eq!(count(&net, |op| matches!(op, Operation::Eltwise(_))), sums);
        assert_eq!(count(&net, |op| matches!(op, Operation::InnerProduct(_))), 1);
        assert_eq!(count(&net, |op| matches!(op, Operation::Softmax)), 1);
        // The one bias of a convolution is that of ResNet-50's first.
        let biased = count(&net, |op| matches!(op, Operation::Convolution(conv) if conv.bias));
        assert_eq!(biased, usize::from(depth == 50));
    }
}
