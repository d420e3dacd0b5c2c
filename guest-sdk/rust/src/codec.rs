//! States as bytes: postcard, with one rule added. The contract reads an empty
//! byte string as "no state", so a state that encodes to nothing (`()`, for
//! instance) is written as one zero byte, which decoding ignores.

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, append::append};

/// Appends to a vector without postcard's own buffer in between.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        append(self.0, bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the state's encoding: at least one byte.
#[inline]
pub(crate) fn encode<S: Serialize>(state: &S, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    postcard::serialize_with_flavor(state, Append(out))
        .map_err(|e| Error::new(format!("the state cannot be encoded: {e}")))?;
    if out.len() == before {
        out.push(0);
    }
    Ok(())
}

/// Reads a state; none from an empty byte string.
#[inline]
pub(crate) fn decode<S: DeserializeOwned>(bytes: &[u8]) -> Result<Option<S>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    postcard::from_bytes(bytes).map(Some).map_err(|e| {
        Error::new(format!(
            "a state of {} bytes cannot be decoded ({e}); was it written by a version of this \
             operator with another state type?",
            bytes.len()
        ))
    })
}

/// Whether bytes are a state of this type, and nothing else. Stricter than
/// [`decode`], which does not look at what follows: a type of which a field was
/// taken away would be read from the states of the old one.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn check<S: DeserializeOwned>(bytes: &[u8]) -> Result<(), Error> {
    decode::<S>(bytes)?;
    let rest = postcard::take_from_bytes::<S>(bytes).map_or(&[][..], |(_, rest)| rest);
    match rest {
        [] => Ok(()),
        // What is nothing is written as a zero.
        [0] if bytes.len() == 1 => Ok(()),
        rest => Err(Error::new(format!(
            "a state of {} bytes is read from the first {}: it was written by a version of this \
             operator with another state type",
            bytes.len(),
            bytes.len() - rest.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_content_is_still_a_state() {
        let mut bytes = Vec::new();
        encode(&(), &mut bytes).unwrap();
        assert_eq!(bytes.len(), 1);
        assert_eq!(decode::<()>(&bytes).unwrap(), Some(()));
        assert_eq!(decode::<()>(&[]).unwrap(), None);
    }

    #[test]
    fn a_state_is_checked_to_its_last_byte() {
        let mut bytes = Vec::new();
        encode(&(300_u64, 7_u64), &mut bytes).unwrap();
        check::<(u64, u64)>(&bytes).unwrap();
        // Decoding does not see that a field was taken away.
        assert_eq!(decode::<u64>(&bytes).unwrap(), Some(300));
        let e = check::<u64>(&bytes).unwrap_err().to_string();
        assert!(e.contains("a state of 3 bytes is read from the first 2"), "{e}");
        assert!(check::<(u64, u64, u64)>(&bytes).is_err());
        check::<()>(&[0]).unwrap();
    }

    #[test]
    fn a_state_of_another_type_says_so() {
        let mut bytes = Vec::new();
        encode(&(300_u64, "abc"), &mut bytes).unwrap();
        let e = decode::<(u64, u64, String)>(&bytes[..2]).unwrap_err().to_string();
        assert!(e.contains("another state type"), "{e}");
    }
}
