//! A certificate authority and a server certificate of our own, made at start and thrown away with the process.
//!
//! For loopback tests and the demo only: nothing here rotates, revokes or protects a key.

use std::fmt;
use std::net::Ipv4Addr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// What an Envoy needs to speak TLS, and what its clients need to trust it. All in PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The server's certificate, for `localhost`, `127.0.0.1` and the names asked for.
    pub certificate_pem: String,
    /// The server's private key (PKCS #8).
    pub key_pem: String,
    /// The certificate of the authority that signed it.
    pub ca_pem: String,
}

impl Certificate {
    /// Makes a new authority, and a certificate by it for `localhost`, `127.0.0.1` and these DNS names.
    ///
    /// # Errors
    /// A name that is no ASCII, or a system without random numbers.
    pub fn generate(names: &[&str]) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "Portcullis throw-away CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let ca_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let names = ["localhost"].iter().chain(names).map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut server = CertificateParams::new(names)?;
        server.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate_pem = server.signed_by(&key, &issuer)?.pem();
        Ok(Self { certificate_pem, key_pem: key.serialize_pem(), ca_pem })
    }
}

impl fmt::Debug for Certificate {
    /// Leaves the key out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_pem, key_pem: _, ca_pem } = self;
        formatter
            .debug_struct("Certificate")
            .field("certificate_pem", certificate_pem)
            .field("ca_pem", ca_pem)
            .finish_non_exhaustive()
    }
}
