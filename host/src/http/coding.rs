//! Bodies that are sent compressed: how a request says so, and unpacking them within bounds. A
//! client says how much it sends, and not how much becomes of it: nothing is unpacked beyond what
//! the body may have as it is.

use std::io::{self, Read as _};

use axum::http::{HeaderMap, StatusCode, header};
use flate2::bufread::MultiGzDecoder;

use super::{Answer, problem::Problem};

/// A frame of zstd may ask for a window of 2 to this power, 8 MiB: what RFC 8878 has every decoder
/// support. The library would take 128 MiB.
const LARGEST_WINDOW: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// It is not.
    Identity,
    /// By gzip (RFC 1952).
    Gzip,
    /// By zstd (RFC 8878).
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` says.
    pub(super) fn of(headers: &HeaderMap) -> Answer<Self> {
        let mut said = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = match said.next().map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => return Ok(Self::Identity),
            Some(coding) if said.next().is_none() => coding,
            Some(_) => Vec::new(),
        };
        match &coding[..] {
            b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-encoding",
                "`content-encoding` may be gzip or zstd, once, or is left out",
            )),
        }
    }

    /// What a body is, unpacked. Blocks.
    ///
    /// # Errors
    /// If it is not packed like that, or has more than `limit` bytes.
    pub(super) fn unpack(self, body: Vec<u8>, what: &str, limit: usize) -> Answer<Vec<u8>> {
        let unpacked = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => read(MultiGzDecoder::new(&body[..]), limit),
            Self::Zstd => zstd(&body, limit),
        };
        let name = if self == Self::Gzip { "gzip" } else { "zstd" };
        match unpacked {
            Ok(Some(unpacked)) => Ok(unpacked),
            Ok(None) => {
                let detail = format!("{what} may have {limit} bytes at most, unpacked");
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
            }
            Err(error) => Err(Problem::invalid(format!(
                "the body cannot be unpacked, which `content-encoding` says is {name}: {error}"
            ))),
        }
    }
}

fn zstd(body: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    read(decoder, limit)
}

/// All of it; none if it is longer than this.
fn read(from: impl io::Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut unpacked = Vec::new();
    // One more tells that there is more.
    from.take(limit as u64 + 1).read_to_end(&mut unpacked)?;
    Ok((unpacked.len() <= limit).then_some(unpacked))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn pack(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Identity => bytes.to_vec(),
            Coding::Gzip => gzip(bytes),
            Coding::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        }
    }

    /// The status and what is said, if it is refused.
    fn unpack(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, (u16, String)> {
        let unpacked = coding.unpack(body.to_vec(), "the records", limit);
        unpacked.map_err(|problem| (problem.status().as_u16(), problem.detail().to_owned()))
    }

    const PACKED: [Coding; 2] = [Coding::Gzip, Coding::Zstd];

    #[test]
    fn a_request_says_how_its_body_is_packed() {
        let of = |said: &[&str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(header::CONTENT_ENCODING, said.parse().unwrap());
            }
            Coding::of(&headers).map_err(|problem| problem.status().as_u16())
        };
        for (said, coding) in [
            (&[][..], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["GZip"], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["zstd"], Coding::Zstd),
        ] {
            assert_eq!(of(said), Ok(coding), "{said:?}");
        }
        for said in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &[""], &["deflate"]] {
            assert_eq!(of(said), Err(415), "{said:?}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked_beyond_the_limit() {
        // A gibibyte of zeros, in a megabyte and in some kilobytes.
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..64).for_each(|_| packed.write_all(&zeros).unwrap());
        let once = packed.finish().unwrap();
        let bombs = [
            (Coding::Gzip, once.repeat(16)),
            (Coding::Zstd, pack(Coding::Zstd, &zeros.repeat(64)).repeat(16)),
        ];
        for (coding, bomb) in bombs {
            assert!(bomb.len() < 8 << 20, "{coding:?}: {}", bomb.len());
            let (status, said) = unpack(coding, &bomb, 1 << 20).unwrap_err();
            assert_eq!(status, 413, "{said}");
            assert!(said.contains("1048576 bytes at most, unpacked"), "{said}");
        }
        // Many parts of nothing come to nothing.
        assert_eq!(unpack(Coding::Gzip, &gzip(b"").repeat(10_000), 10), Ok(Vec::new()));
        assert_eq!(
            unpack(Coding::Zstd, &pack(Coding::Zstd, b"").repeat(10_000), 10),
            Ok(Vec::new())
        );
    }

    #[test]
    fn a_frame_that_asks_for_much_memory_is_refused() {
        let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.window_log(LARGEST_WINDOW + 1).unwrap();
        packed.write_all(b"{}").unwrap();
        // Of what is flushed before its end nobody knows how long it will be.
        packed.flush().unwrap();
        packed.write_all(b"{}").unwrap();
        let (status, said) = unpack(Coding::Zstd, &packed.finish().unwrap(), 100).unwrap_err();
        assert_eq!(status, 400, "{said}");
    }

    #[test]
    fn exactly_what_may_be_is_taken_and_what_is_broken_is_not() {
        for coding in PACKED {
            let packed = pack(coding, b"0123456789");
            assert_eq!(unpack(coding, &packed, 10), Ok(b"0123456789".to_vec()));
            assert_eq!(unpack(coding, &packed, 9).unwrap_err().0, 413);
            // Parts one behind another are one body.
            assert_eq!(unpack(coding, &packed.repeat(2), 20).unwrap().len(), 20);
            for broken in [&packed[..packed.len() - 1], &packed[..5], b"{}"] {
                let (status, said) = unpack(coding, broken, 10).unwrap_err();
                assert_eq!(status, 400, "{coding:?} {broken:?}: {said}");
                assert!(said.contains("content-encoding"), "{said}");
            }
            let trailing = [&packed[..], b"{}"].concat();
            assert_eq!(unpack(coding, &trailing, 100).unwrap_err().0, 400, "{coding:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_and_no_bytes_do_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            limit in 0_usize..2_000,
            at in any::<prop::sample::Index>(),
            other in any::<u8>(),
        ) {
            for coding in PACKED {
                let mut packed = pack(coding, &bytes);
                match unpack(coding, &packed, limit) {
                    Ok(unpacked) => prop_assert_eq!(&unpacked, &bytes),
                    Err((status, _)) => prop_assert!(status == 413 && bytes.len() > limit),
                }
                let place = at.index(packed.len());
                packed[place] ^= other;
                if let Ok(unpacked) = unpack(coding, &packed, limit) {
                    prop_assert!(unpacked.len() <= limit);
                }
                if let Ok(unpacked) = unpack(coding, &bytes, limit) {
                    prop_assert!(unpacked.len() <= limit);
                }
            }
        }
    }
}
