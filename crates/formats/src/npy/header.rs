//! The header of an array: magic, version, length, and a Python dictionary of three keys as text:
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, padded to a multiple of 64 bytes.

use residuum_tensor::DType;

use crate::error::{FormatError, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The limit of `numpy`'s own reader.
const MAX_TEXT_BYTES: usize = 10_000;
const MAX_RANK: usize = 32;
const ALIGNMENT: usize = 64;
const V1_PREFIX_BYTES: usize = 10;

#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) dtype: DType,
    pub(super) is_fortran: bool,
    pub(super) shape: Vec<usize>,
}

/// The header and the place where it ends.
pub(super) fn parse(file: &[u8]) -> Result<(Header, usize)> {
    let truncated = || FormatError::truncated("header", format!("the file ends after {} bytes", file.len()));
    let Some(rest) = file.strip_prefix(MAGIC) else {
        return Err(FormatError::unsupported(
            "header",
            "expected a .npy file, which begins with `\\x93NUMPY`",
        ));
    };
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    let (len, rest) = match version {
        [1, 0] => {
            rest.split_first_chunk::<2>().map(|(len, rest)| (u32::from(u16::from_le_bytes(*len)), rest))
        }
        [2 | 3, 0] => rest.split_first_chunk::<4>().map(|(len, rest)| (u32::from_le_bytes(*len), rest)),
        [major, minor] => {
            let message = format!("version {major}.{minor}, 1.0 to 3.0 are read");
            return Err(FormatError::unsupported("header", message));
        }
    }
    .ok_or_else(truncated)?;
    let len = len as usize;
    if len > MAX_TEXT_BYTES {
        let message = format!("{len} bytes, at most {MAX_TEXT_BYTES} are allowed");
        return Err(FormatError::limit("header", message));
    }
    let text = rest.get(..len).ok_or_else(truncated)?;
    let text = std::str::from_utf8(text).map_err(|_| FormatError::malformed("header", "not UTF-8"))?;
    Ok((Parser { rest: text }.header()?, file.len() - rest.len() + len))
}

/// The bytes before an array's elements, in format version 1.
pub(super) fn compose(descr: &str, shape: &[usize]) -> Result<Vec<u8>> {
    let sides = shape.iter().fold(String::new(), |sides, side| sides + &format!("{side},"));
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}");
    let len = (V1_PREFIX_BYTES + text.len() + 1).next_multiple_of(ALIGNMENT) - V1_PREFIX_BYTES;
    text.extend(std::iter::repeat_n(' ', len - text.len() - 1));
    text.push('\n');
    let len = u16::try_from(len).map_err(|_| FormatError::limit("header", "a shape of too many sides"))?;
    Ok([MAGIC.as_slice(), &[1, 0], &len.to_le_bytes(), text.as_bytes()].concat())
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn header(mut self) -> Result<Header> {
        let (mut dtype, mut is_fortran, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.skip("}") {
            let key = self.quoted()?;
            self.expect(":")?;
            let is_new = match key {
                "descr" => dtype.replace(self.dtype()?).is_none(),
                "fortran_order" => is_fortran.replace(self.truth()?).is_none(),
                "shape" => shape.replace(self.shape()?).is_none(),
                _ => return Err(wrong(&format!("unknown key {key:?}"))),
            };
            if !is_new {
                return Err(wrong(&format!("`{key}` comes twice")));
            }
            if !self.skip(",") {
                self.expect("}")?;
                break;
            }
        }
        match (dtype, is_fortran, shape, self.rest.trim().is_empty()) {
            (Some(dtype), Some(is_fortran), Some(shape), true) => Ok(Header { dtype, is_fortran, shape }),
            (.., false) => Err(wrong("text after the closing brace")),
            _ => Err(wrong("expected the keys `descr`, `fortran_order` and `shape`")),
        }
    }

    fn skip(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.skip(token) {
            Ok(())
        } else {
            Err(wrong(&format!("expected `{token}` before {:?}", self.ahead())))
        }
    }

    fn ahead(&self) -> String {
        self.rest.chars().take(20).collect()
    }

    fn quoted(&mut self) -> Result<&'a str> {
        let quote = if self.skip("\"") { '"' } else { self.expect("'").map(|()| '\'')? };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| wrong("a text has no end"))?;
        self.rest = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool> {
        if self.skip("True") { Ok(true) } else { self.expect("False").map(|()| false) }
    }

    fn shape(&mut self) -> Result<Vec<usize>> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.skip(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            self.rest = rest;
            // Python 2 wrote long integers as `3L`.
            self.skip("L");
            shape.push(digits.parse().map_err(|_| wrong(&format!("`{digits}` is no side of a shape")))?);
            if shape.len() > MAX_RANK {
                return Err(FormatError::limit("header", format!("more than {MAX_RANK} sides")));
            }
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    fn dtype(&mut self) -> Result<DType> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('[') {
            return Err(FormatError::unsupported(
                "header",
                "an array of records; only plain numbers are read",
            ));
        }
        Ok(match self.quoted()? {
            "<f4" => DType::F32,
            "<f8" => DType::F64,
            "<f2" => DType::F16,
            "<i8" => DType::I64,
            "<i4" => DType::I32,
            "<i2" => DType::I16,
            "|i1" | "<i1" => DType::I8,
            "|u1" | "<u1" => DType::U8,
            "|b1" | "<b1" => DType::Bool,
            other => {
                let message = format!("element type `{other}`; read are <f2 <f4 <f8 |i1 <i2 <i4 <i8 |u1 |b1");
                return Err(FormatError::unsupported("header", message));
            }
        })
    }
}

fn wrong(message: &str) -> FormatError {
    FormatError::malformed("header", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn parse_text(text: &str) -> Result<Header> {
        let file = [MAGIC.as_slice(), &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        parse(&file).map(|(header, end)| {
            assert_eq!(end, file.len());
            header
        })
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let header = parse_text("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n").unwrap();
        assert_eq!(header, Header { dtype: DType::F32, is_fortran: false, shape: vec![3, 4] });
        let header = parse_text("{\"shape\":(5L,),'fortran_order':True,'descr':'|u1'}").unwrap();
        assert_eq!(header, Header { dtype: DType::U8, is_fortran: true, shape: vec![5] });
        assert!(
            parse_text("{'descr': '<i8', 'fortran_order': False, 'shape': ()}").unwrap().shape.is_empty()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ok = "'fortran_order': False, 'shape': (1,)}";
        for (text, kind, part) in [
            (format!("{{'descr': '>f4', {ok}"), ErrorKind::Unsupported, ">f4"),
            (format!("{{'descr': '|O', {ok}"), ErrorKind::Unsupported, "|O"),
            (format!("{{'descr': [('a', '<f4')], {ok}"), ErrorKind::Unsupported, "records"),
            (format!("{{'descr': '<f4', {ok} x"), ErrorKind::Malformed, "after"),
            (format!("{{'descr': '<f4', 'descr': '<f4', {ok}"), ErrorKind::Malformed, "twice"),
            ("{'descr': '<f4'}".to_owned(), ErrorKind::Malformed, "shape"),
            ("{'shape': (-1,)}".to_owned(), ErrorKind::Malformed, "side"),
            ("{'shape': (99999999999999999999,)}".to_owned(), ErrorKind::Malformed, "side"),
            (format!("{{'shape': ({})}}", "1,".repeat(33)), ErrorKind::Limit, "32"),
            ("{'shape': (1 2)}".to_owned(), ErrorKind::Malformed, "expected"),
            ("{'os': 1}".to_owned(), ErrorKind::Malformed, "os"),
            ("{'shape".to_owned(), ErrorKind::Malformed, "end"),
            (String::new(), ErrorKind::Malformed, "{"),
        ] {
            let error = parse_text(&text).unwrap_err();
            assert!(error.kind() == kind && error.message().contains(part), "{text}: {error:?}");
        }
    }

    #[test]
    fn header_bombs_are_refused() {
        let announced = |len: u32| [MAGIC.as_slice(), &[2, 0], &len.to_le_bytes()].concat();
        assert_eq!(parse(&announced(u32::MAX)).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(parse(&announced(100)).unwrap_err().kind(), ErrorKind::Truncated);
        assert_eq!(parse(b"\x93NUMPY\x04\x00\x00\x00").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(parse(b"PK").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn what_is_written_is_aligned_and_read_again() {
        for shape in [vec![], vec![7], vec![2, 3, 4]] {
            let bytes = compose("<f4", &shape).unwrap();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            let (header, end) = parse(&bytes).unwrap();
            assert_eq!((header.shape, end), (shape, bytes.len()));
        }
    }
}
