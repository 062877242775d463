use super::*;
use crate::ErrorKind;

/// A pickle of protocol 2 with these instructions.
fn program(body: &[u8]) -> Vec<u8> {
    [b"\x80\x02", body, b"."].concat()
}

fn refusal(body: &[u8]) -> FormatError {
    run(&program(body)).unwrap_err()
}

fn root_of(body: &[u8]) -> String {
    let program = program(body);
    let (tree, used) = run(&program).unwrap();
    assert_eq!(used, program.len());
    show(&tree, tree.root)
}

fn show(tree: &Tree<'_>, id: NodeId) -> String {
    let all = |items: &[NodeId]| items.iter().map(|&item| show(tree, item)).collect::<Vec<_>>().join(" ");
    match tree.node(id) {
        Node::List(items) => format!("[{}]", all(items)),
        Node::Tuple(items) => format!("({})", all(items)),
        Node::Map(pairs) => {
            let pairs =
                pairs.iter().map(|&(key, value)| format!("{}: {}", show(tree, key), show(tree, value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
        Node::Int(value) => value.to_string(),
        Node::Float(value) => value.to_string(),
        Node::Bool(value) => value.to_string(),
        Node::Text(text) => format!("{text:?}"),
        Node::None => "None".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn plain_data_is_built() {
    for (body, expected) in [
        (b"N".as_slice(), "None"),
        (b"\x88", "true"),
        (b"J\xfe\xff\xff\xff", "-2"),
        (b"M\x00\x01", "256"),
        (b"G\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"),
        (b"\x8a\x00", "0"),
        (b"\x8a\x02\x00\x80", "-32768"),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "9223372036854775807"),
        (b"X\x02\x00\x00\x00hi", "\"hi\""),
        (b"U\x02hi", "\"hi\""),
        (b"\x8c\x02hi", "\"hi\""),
        (b"](K\x01K\x02e", "[1 2]"),
        (b"]K\x01a", "[1]"),
        (b"}(U\x01aK\x01U\x01bK\x02u", "{\"a\": 1 \"b\": 2}"),
        (b"}U\x01aK\x01s", "{\"a\": 1}"),
        (b"K\x01K\x02K\x03\x87", "(1 2 3)"),
        (b"(K\x01t", "(1)"),
        (b")", "()"),
        (b"K\x07q\x000h\x00h\x00\x86", "(7 7)"),
        (b"K\x07\x94K\x08\x94h\x00\x86", "(8 7)"),
        (b"K\x072\x86", "(7 7)"),
        (b"K\x05(K\x01K\x021", "5"),
        (b"ccollections\nOrderedDict\n)R}b", "{}"),
        (b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R", "{}"),
        (b"ccollections\nOrderedDict\n](]U\x01aaK\x01ae\x85R", "{\"a\": 1}"),
        (b"ccollections\nOrderedDict\n](U\x01aK\x01\x86e\x85R", "{\"a\": 1}"),
        (b"ctorch\nSize\nK\x02K\x03\x86\x85R", "(2 3)"),
        (b"ctorch\ndevice\nU\x04cudaK\x00\x86R", "\"cuda\""),
    ] {
        assert_eq!(root_of(body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn names_off_the_list_are_refused_and_named() {
    for (body, name) in [
        (b"cos\nsystem\nU\x02ls\x85R".as_slice(), "os.system"),
        (b"cposix\nsystem\nU\x02ls\x85R", "posix.system"),
        (b"cbuiltins\neval\nU\x011\x85R", "builtins.eval"),
        (b"c__builtin__\neval\nU\x011\x85R", "__builtin__.eval"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R", "os.system"),
        (b"cos\nsystem\n0N", "os.system"),
        (b"ctorch\nload\nU\x01f\x85R", "torch.load"),
        (b"ctorch\n_utils._rebuild_tensor_v2\n)R", "torch._utils._rebuild_tensor_v2"),
        (b"ctorch._utils\n__class__\n)R", "torch._utils.__class__"),
        (b"(ios\nsystem\n", "os.system"),
    ] {
        let error = refusal(body);
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", body.escape_ascii());
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn building_objects_is_refused_by_instruction() {
    for (body, part) in [
        (b"(ccollections\nOrderedDict\no".as_slice(), "OBJ"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (b"ccollections\nOrderedDict\n)}\x92", "NEWOBJ"),
        (b"\x82\x01", "EXT"),
        (b"\x84\x01\x00\x00\x00", "EXT"),
        (b"Pmodule\n", "PERSID"),
        (b"ccollections\nOrderedDict\n}U\x0c__setstate__K\x01sb", "BUILD"),
        (b"]}b", "BUILD"),
        (b"ccollections\nOrderedDict\n)R}U\x0c__setstate__K\x01sb", "BUILD"),
        (b"U\x02ls)R", "no name"),
        (b"ccollections\nOrderedDict\nK\x01\x85R", "OrderedDict"),
        (b"ctorch\nFloatStorage\n)R", "Storage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\nNK\x00))NNtR", ""),
        (b"ctorch._utils\n_rebuild_parameter\nK\x01\x88N\x87R", "RebuildParameter"),
        (b"U\x06moduleQ", "persistent"),
        (b"(U\x06modulectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ", "persistent"),
        (b"(U\x07storageU\x05floatU\x010U\x03cpuK\x04tQ", "persistent"),
    ] {
        let error = refusal(body);
        assert!(matches!(error.kind(), ErrorKind::Refused | ErrorKind::Malformed), "{error:?}");
        assert!(error.message().contains(part), "{}: {error}", body.escape_ascii());
    }
}

#[test]
fn limits_hold() {
    let marks = b"(".repeat(1_000_000);
    assert_eq!(refusal(&marks).kind(), ErrorKind::Limit);
    let nested_tuples = [b"N".to_vec(), b"\x85".repeat(64)].concat();
    assert_eq!(refusal(&nested_tuples).kind(), ErrorKind::Limit);
    let allowed = [b"N".to_vec(), b"\x85".repeat(63)].concat();
    assert!(run(&program(&allowed)).is_ok());
    let many = [b"]".to_vec(), b"K\x00a".repeat(1_000_001)].concat();
    assert_eq!(refusal(&many).kind(), ErrorKind::Limit);
    let high = b"N".repeat(1_000_001);
    assert_eq!(refusal(&high).kind(), ErrorKind::Limit);
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(1000), b"e\x85q\x00".to_vec()].concat();
    let copies = b"ccollections\nOrderedDict\nh\x00R0".repeat(1001);
    assert_eq!(refusal(&[pairs, copies].concat()).kind(), ErrorKind::Limit);
}

#[test]
fn a_memo_bomb_stays_small_and_is_read() {
    let doubling = b"q\x00h\x00\x86".repeat(60);
    assert!(run(&program(&[b"N".to_vec(), doubling].concat())).is_ok());
    let endless = b"q\x00h\x00\x86".repeat(100_000);
    assert_eq!(refusal(&[b"N".to_vec(), endless].concat()).kind(), ErrorKind::Limit);
}

#[test]
fn what_contains_itself_is_refused() {
    for body in [b"]q\x00h\x00a".as_slice(), b"}q\x00U\x01ah\x00s", b"]q\x00(h\x00tq\x01ah\x01"] {
        assert_eq!(refusal(body).kind(), ErrorKind::Limit, "{}", body.escape_ascii());
    }
}

#[test]
fn lengths_beyond_the_end_are_truncation() {
    for body in [
        b"X\xff\xff\xff\x7fabc".as_slice(),
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x8d\x00\x00\x00\x00\x00\x00\x00\x80",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f\x01",
        b"T\xff\xff\xff\x7f",
    ] {
        assert_eq!(refusal(body).kind(), ErrorKind::Truncated, "{}", body.escape_ascii());
    }
}

#[test]
fn a_broken_stack_is_malformed() {
    for body in [
        b"".as_slice(),
        b"\x85",
        b"K\x01(\x85",
        b"t",
        b"K\x01a",
        b"}(K\x01u",
        b"}(K\x01K\x02K\x03u",
        b"]K\x01K\x02s",
        b"h\x05",
        b"K\x01R",
        b"NNR",
        b"q\x00",
        b"K\x01K\x02\x93",
        b"cos",
        b"X\x01\x00\x00\x00\xff",
        b"1",
    ] {
        let error = refusal(body);
        assert!(
            matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Refused),
            "{}: {error:?}",
            body.escape_ascii()
        );
        assert!(error.place().starts_with("byte "), "{error}");
    }
    assert_eq!(run(b"\x80\x01.").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(run(b"\x80\x06.").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(run(b"\x80\x02]I1\na.").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(run(b"").unwrap_err().kind(), ErrorKind::Truncated);
}
