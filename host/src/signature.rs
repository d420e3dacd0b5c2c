//! Signatures of artifacts: Ed25519 (RFC 8032) over the digest of the bytes, apart from them. Keys are
//! what the field writes them as, so that OpenSSL makes and reads them too: PKCS#8 and
//! SubjectPublicKeyInfo in PEM (RFC 8410). Knows no tenants, and who is trusted.
//!
//! What is signed is a line of text, so that a signature of this kind is one of nothing else:
//! `cofferdam artifact sha256-` and 64 hexadecimal digits, without an end of line.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{ArtifactDigest, Hex, KeyId};

/// What comes before the 32 bytes of a key in DER: RFC 8410, sections 4 and 7.
const PUBLIC_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];
const SECRET_DER: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What a signature begins with where it is written.
const SCHEME: &str = "ed25519:";

/// Why a key or a signature cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// What signatures are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key: PEM, `BEGIN PUBLIC KEY`.
    ///
    /// # Errors
    /// If it is none, or of another algorithm.
    pub fn from_pem(pem: &str) -> Result<Self, Unusable> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
            let secret = pem.contains("PRIVATE KEY");
            let hint = if secret { ": this is a secret key, which stays where it is" } else { "" };
            Unusable(format!("it is no public key in PEM (`BEGIN PUBLIC KEY`){hint}: {error}"))
        })?;
        let raw = der.as_ref().strip_prefix(&PUBLIC_DER).and_then(|raw| raw.try_into().ok());
        raw.map(Self).ok_or_else(|| Unusable("it is no key of Ed25519".to_owned()))
    }

    /// The key in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[PUBLIC_DER.as_slice(), &self.0].concat())
    }

    /// What it is called by: the beginning of its SHA-256.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = Hex(&Sha256::digest(self.0)[..8]).to_string();
        digest.parse().expect("16 hexadecimal digits name a key")
    }

    /// Whether a signature of an artifact was made with the secret half of it.
    #[must_use]
    pub fn has_signed(&self, digest: &ArtifactDigest, signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(signed_text(digest).as_bytes(), &signature.0).is_ok()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Unusable;
    fn try_from(pem: String) -> Result<Self, Unusable> {
        Self::from_pem(&pem)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_pem()
    }
}

/// What signs. It is not shown by accident.
pub struct SecretKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// A key that nobody has.
    #[must_use]
    pub fn generate() -> Self {
        Self::of(rand::random())
    }

    fn of(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        Self { seed, pair: pair.expect("any 32 bytes are a secret key") }
    }

    /// Reads a key: PEM, `BEGIN PRIVATE KEY`, not encrypted.
    ///
    /// # Errors
    /// If it is none, or of another algorithm.
    pub fn from_pem(pem: &str) -> Result<Self, Unusable> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
            Unusable(format!(
                "it is no secret key in PEM (`BEGIN PRIVATE KEY`, without a password): {error}"
            ))
        })?;
        let bytes = der.secret_pkcs8_der();
        // Of the second version, which holds the public half too, only the first is used.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
            .map_err(|error| Unusable(format!("it is no key of Ed25519: {error}")))?;
        let marker = &SECRET_DER[SECRET_DER.len() - 4..];
        let at = bytes.windows(marker.len()).position(|window| window == marker);
        let seed = at.and_then(|at| bytes.get(at + marker.len()..at + marker.len() + 32));
        let seed = seed.and_then(|seed| seed.try_into().ok());
        seed.map(Self::of).ok_or_else(|| Unusable("it is no key of Ed25519".to_owned()))
    }

    /// The key in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PRIVATE KEY", &[SECRET_DER.as_slice(), &self.seed].concat())
    }

    /// The half that others may know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let raw = self.pair.public_key().as_ref().try_into();
        PublicKey(raw.expect("a public key of Ed25519 has 32 bytes"))
    }

    /// Signs an artifact with these bytes.
    #[must_use]
    pub fn sign(&self, digest: &ArtifactDigest) -> Signature {
        let signature = self.pair.sign(signed_text(digest).as_bytes());
        Signature(signature.as_ref().try_into().expect("a signature of Ed25519 has 64 bytes"))
    }
}

/// A signature; written `ed25519:` and 88 characters of base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", BASE64_STANDARD.encode(self.0))
    }
}

impl FromStr for Signature {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let encoded = text.trim().strip_prefix(SCHEME);
        let bytes = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            Unusable(format!(
                "a signature is `{SCHEME}` and 64 bytes in base64, as `cofferdam operator sign` \
                 writes it"
            ))
        })
    }
}

impl TryFrom<String> for Signature {
    type Error = Unusable;
    fn try_from(text: String) -> Result<Self, Unusable> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.to_string()
    }
}

/// What is signed.
fn signed_text(digest: &ArtifactDigest) -> String {
    format!("cofferdam artifact sha256-{digest}")
}

fn pem(what: &str, der: &[u8]) -> String {
    // It is one line: no key is longer than 64 characters.
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", BASE64_STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: with the public half (version 2), and its public key of section 10.1.
    const RFC_SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn keys_are_those_of_the_rfc() {
        let secret = SecretKey::from_pem(RFC_SECRET).unwrap();
        assert_eq!(secret.to_pem(), RFC_SECRET);
        assert_eq!(secret.public().to_pem(), RFC_PUBLIC);
        assert_eq!(PublicKey::from_pem(RFC_PUBLIC).unwrap(), secret.public());
        assert!(!format!("{secret:?}").contains(&format!("{:?}", secret.seed)));
    }

    #[test]
    fn a_signature_is_of_these_bytes_by_this_key_and_of_nothing_else() {
        let (ours, theirs) = (SecretKey::generate(), SecretKey::generate());
        let (digest, other) = (ArtifactDigest([7; 32]), ArtifactDigest([8; 32]));
        let signature: Signature = ours.sign(&digest).to_string().parse().unwrap();
        assert!(ours.public().has_signed(&digest, &signature));
        assert!(!ours.public().has_signed(&other, &signature));
        assert!(!theirs.public().has_signed(&digest, &signature));
        assert_ne!(ours.public().id(), theirs.public().id());
    }

    #[test]
    fn what_is_no_key_or_signature_is_refused() {
        for bad in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!"] {
            assert!(bad.parse::<Signature>().is_err(), "{bad}");
        }
        let error = PublicKey::from_pem(RFC_SECRET).unwrap_err();
        assert!(error.to_string().contains("stays where it is"), "{error}");
        assert!(PublicKey::from_pem("x").is_err());
        assert!(SecretKey::from_pem(RFC_PUBLIC).is_err());
        let x25519 = RFC_PUBLIC.replace("MCowBQYDK2Vw", "MCowBQYDK2Vu");
        assert!(PublicKey::from_pem(&x25519).is_err(), "another algorithm");
    }
}
