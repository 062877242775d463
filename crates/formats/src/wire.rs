//! Protobuf's wire format, without a schema: a message is fields one after the other, each a number and a
//! value. Long values stay slices of the file, so that reading the weights of a network copies none of them.

use crate::bytes::Bytes;
use crate::error::{FormatError, Result};

/// A value as the wire tells it; what it means depends on the field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1: eight bytes, little endian.
    Fixed64([u8; 8]),
    /// Wire type 2: a text, a message, or numbers packed together.
    Bytes(Bytes),
    /// Wire type 5: four bytes, little endian.
    Fixed32([u8; 4]),
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Its number in the schema.
    pub(crate) number: u64,
    /// Its value.
    pub(crate) value: Value,
}

impl Field {
    /// The bytes of a text, a message or packed numbers.
    pub(crate) fn bytes(&self) -> Result<&Bytes> {
        match &self.value {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(self.unexpected("bytes with their length", other)),
        }
    }

    /// A text.
    pub(crate) fn text(&self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec())
            .map_err(|_| FormatError::malformed(self.place(), "expected UTF-8 text"))
    }

    /// A whole number from 0 on.
    pub(crate) fn size(&self) -> Result<usize> {
        match self.value {
            Value::Varint(value) => self.checked_size(value),
            ref other => Err(self.unexpected("a whole number", other)),
        }
    }

    /// Whole numbers from 0 on, packed together or one alone, added to `sizes` up to `limit`.
    pub(crate) fn append_sizes(&self, sizes: &mut Vec<usize>, limit: usize) -> Result<()> {
        let mut push = |value| {
            if sizes.len() == limit {
                return Err(FormatError::limit(self.place(), format!("more than {limit} numbers")));
            }
            sizes.push(self.checked_size(value)?);
            Ok(())
        };
        match &self.value {
            Value::Varint(value) => push(*value),
            Value::Bytes(packed) => {
                let mut at = 0;
                while at < packed.len() {
                    push(varint(packed, &mut at).map_err(|e| e.within(&self.place()))?)?;
                }
                Ok(())
            }
            other => Err(self.unexpected("whole numbers", other)),
        }
    }

    /// Negative numbers are stored as their two's complement of 64 bits, hence look huge.
    fn checked_size(&self, value: u64) -> Result<usize> {
        let size = i64::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
        size.ok_or_else(|| {
            let message = format!("expected a number from 0 on, found {}", value as i64);
            FormatError::malformed(self.place(), message)
        })
    }

    /// The field in a message.
    pub(crate) fn place(&self) -> String {
        format!("field {}", self.number)
    }

    /// The complaint about a value of another wire type than the schema says.
    pub(crate) fn unexpected(&self, expected: &str, found: &Value) -> FormatError {
        let found = match found {
            Value::Varint(_) => "a whole number",
            Value::Fixed64(_) => "eight bytes",
            Value::Bytes(_) => "bytes with their length",
            Value::Fixed32(_) => "four bytes",
        };
        FormatError::malformed(self.place(), format!("expected {expected}, found {found}"))
    }
}

/// The fields of a message in their order. After an error there are no more.
pub(crate) struct Fields<'a> {
    message: &'a Bytes,
    at: usize,
}

/// The fields of a message.
pub(crate) fn fields(message: &Bytes) -> Fields<'_> {
    Fields { message, at: 0 }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        if start >= self.message.len() {
            return None;
        }
        let field = self.field().map_err(|e| e.within(&format!("byte {start}")));
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

impl Fields<'_> {
    fn field(&mut self) -> Result<Field> {
        let key = varint(self.message, &mut self.at)?;
        let (number, wire) = (key >> 3, key & 7);
        if number == 0 {
            return Err(FormatError::malformed("", "a field of the number 0"));
        }
        let value = match wire {
            0 => Value::Varint(varint(self.message, &mut self.at)?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let len = varint(self.message, &mut self.at)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.array()?),
            wire => {
                return Err(FormatError::malformed(format!("field {number}"), format!("wire type {wire}")));
            }
        };
        Ok(Field { number, value })
    }

    fn take(&mut self, len: u64) -> Result<Bytes> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let bytes = end.and_then(|end| self.message.slice(self.at..end));
        let bytes = bytes.ok_or_else(|| {
            let message = format!("{len} bytes announced, {} are left", self.message.len() - self.at);
            FormatError::truncated("", message)
        })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let array = self.message.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let array = *array.ok_or_else(|| FormatError::truncated("", format!("expected {N} bytes more")))?;
        self.at += N;
        Ok(array)
    }
}

/// A number of 7 bits a byte, the lowest first; the last byte has its high bit clear.
fn varint(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.get(*at).copied();
        let byte = byte.ok_or_else(|| FormatError::truncated("", "the message ends within a number"))?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(FormatError::malformed("", "a number of more than 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn read(bytes: &[u8]) -> Result<Vec<Field>> {
        fields(&bytes.to_vec().into()).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let file = b"\x08\x96\x01\x11abcdefgh\x1a\x02hi\xa5\x06wxyz";
        let found = read(file).unwrap();
        let numbers: Vec<u64> = found.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [1, 2, 3, 100]);
        assert_eq!(found[0].size().unwrap(), 150);
        assert_eq!(found[1].value, Value::Fixed64(*b"abcdefgh"));
        assert_eq!(found[2].text().unwrap(), "hi");
        assert_eq!(found[3].value, Value::Fixed32(*b"wxyz"));
        assert!(found[3].bytes().unwrap_err().to_string().contains("four bytes"));
    }

    #[test]
    fn packed_and_single_numbers_are_added_up_to_the_limit() {
        let mut sizes = Vec::new();
        for field in read(b"\x0a\x03\x07\x80\x01\x08\x05").unwrap() {
            field.append_sizes(&mut sizes, 3).unwrap();
        }
        assert_eq!(sizes, [7, 128, 5]);
        let one = &read(b"\x08\x05").unwrap()[0];
        assert_eq!(one.append_sizes(&mut sizes, 3).unwrap_err().kind(), ErrorKind::Limit);
        let negative = &read(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").unwrap()[0];
        assert!(negative.size().unwrap_err().to_string().contains("-1"));
    }

    #[test]
    fn what_is_cut_or_impossible_is_refused() {
        for cut in [&b"\x08"[..], b"\x08\x80", b"\x11abc", b"\x0a\x05abc", b"\x0d12"] {
            assert_eq!(read(cut).unwrap_err().kind(), ErrorKind::Truncated, "{cut:?}");
        }
        let huge = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(read(huge).unwrap_err().kind(), ErrorKind::Truncated);
        for bad in [&b"\x00\x01"[..], b"\x0b", b"\x0c", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"] {
            assert_eq!(read(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
        }
    }
}
