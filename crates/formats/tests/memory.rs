//! Memory is taken by what a file holds, not by what it claims: the peak of this process, which does
//! nothing else, stays small over the whole hostile set.
#![cfg(target_os = "linux")]

use residuum_formats::{Bytes, ErrorKind, caffe, disk, npy, read_weights_bytes};

const ALLOWED_KIB: usize = 200 << 10;

fn peak_kib() -> usize {
    let status = disk::read_text("/proc/self/status", 1 << 20).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn pickle(body: &[u8]) -> Bytes {
    [b"\x80\x02", body, b"."].concat().into()
}

#[test]
fn hostile_claims_take_no_memory() {
    let before = peak_kib();
    let header =
        format!("{{\"a\":{{\"dtype\":\"U8\",\"shape\":[{0}],\"data_offsets\":[0,{0}]}}}}", 1u64 << 40);
    let safetensors = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let array = "{'descr': '<f8', 'fortran_order': True, 'shape': (1099511627776,)}";
    let npy_file =
        [b"\x93NUMPY\x01\x00".as_slice(), &(array.len() as u16).to_le_bytes(), array.as_bytes()].concat();
    for weights in [
        safetensors.into(),
        pickle(&b"(".repeat(1 << 20)),
        pickle(&b"N".repeat(4 << 20)),
        pickle(&b"]".repeat(4 << 20)),
        pickle(&[b"N".to_vec(), b"q\x00h\x00\x86".repeat(1 << 20)].concat()),
        pickle(&[b"N".to_vec(), b"\x94".repeat(4 << 20)].concat()),
        pickle(b"X\xff\xff\xff\x7f"),
        pickle(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ] {
        let error = read_weights_bytes(&weights).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Limit | ErrorKind::Truncated), "{error}");
    }
    assert_eq!(npy::read_bytes(&npy_file.into()).unwrap_err().kind(), ErrorKind::Truncated);
    for network in [
        b"\xa2\x06\x00".repeat(4 << 20),
        b"\xa2\x06\xff\xff\xff\xff\x0f".to_vec(),
        [b"\xa2\x06\x10\x3a\x0e\x08\xff\xff\xff\xff\x0f\x10\xff\xff\xff\xff\x0f".to_vec(), vec![0; 64]]
            .concat(),
    ] {
        caffe::read_weights_bytes(&network.into()).unwrap_err();
    }
    for text in ["a:1 ".repeat(1 << 19), format!("a:[{}1]", "1,".repeat(1 << 19)), "a{".repeat(1 << 20)] {
        caffe::parse_definition(&text).unwrap_err();
    }
    let grown = peak_kib() - before;
    assert!(grown < ALLOWED_KIB, "the peak grew by {grown} KiB");
}
