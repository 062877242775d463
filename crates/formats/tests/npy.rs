//! Arrays that numpy wrote, arrays that numpy should read, and files made to do harm.

use std::path::{Path, PathBuf};

use residuum_formats::{ErrorKind, disk, npy};
use residuum_tensor::{DType, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn ramp() -> Tensor<f32> {
    Tensor::from_fn([2, 3, 4], |i| i as f32)
}

#[test]
fn fortran_order_comes_out_in_c_order() {
    assert_eq!(npy::read(fixture("fortran.npy")).unwrap().to_f32().unwrap(), ramp());
}

#[test]
fn collections_are_read_stored_and_deflated() {
    let stored = npy::read_npz(fixture("stored.npz")).unwrap();
    assert_eq!(stored.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(stored.get("a").unwrap().to_f32().unwrap(), ramp());
    assert_eq!(stored.get("b").unwrap().to_i64().unwrap().data(), [1, -2]);
    let deflated = npy::read_npz(fixture("deflated.npz")).unwrap();
    assert_eq!(deflated.get("a").unwrap().to_f32().unwrap(), ramp());
    assert_eq!(deflated.get("c").unwrap().to_u8().unwrap(), Tensor::from_fn([20, 30], |i| i as u8));
    assert_eq!((deflated.get("d").unwrap().dtype(), deflated.get("d").unwrap().len()), (DType::Bool, 1));
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("array.npy");
    npy::write_f32(&path, &ramp()).unwrap();
    assert_eq!(npy::read(&path).unwrap().to_f32().unwrap(), ramp());
    let bytes = Tensor::from_fn([5], |i| i as u8);
    npy::write_u8(&path, &bytes).unwrap();
    assert_eq!(npy::read(&path).unwrap().to_u8().unwrap(), bytes);
    let scalar = Tensor::from_fn([], |_| 2.5);
    npy::write_f32(&path, &scalar).unwrap();
    assert_eq!(npy::read(&path).unwrap().to_f32().unwrap(), scalar);
}

#[test]
fn lengths_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("array.npy");
    npy::write_f32(&path, &ramp()).unwrap();
    let whole = disk::read(&path, 10_000).unwrap();
    for len in 0..whole.len() {
        assert!(npy::read_bytes(&whole[..len].to_vec().into()).is_err(), "cut to {len}");
    }
    let longer = [whole.as_slice(), b"x"].concat();
    assert_eq!(npy::read_bytes(&longer.into()).unwrap_err().kind(), ErrorKind::Malformed);
    let text = String::from_utf8_lossy(&whole[10..128]).replace("(2,3,4,)", "(9999999999999999999,9,)");
    let bomb =
        [b"\x93NUMPY\x01\x00".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
    assert_eq!(npy::read_bytes(&bomb.into()).unwrap_err().kind(), ErrorKind::Truncated);
}

#[test]
fn a_damaged_collection_is_refused() {
    for name in ["stored.npz", "deflated.npz"] {
        let whole = disk::read(fixture(name), 10_000).unwrap();
        for len in 0..whole.len() {
            assert!(npy::read_npz_bytes(&whole[..len].to_vec().into()).is_err(), "{name} cut to {len}");
        }
    }
}
