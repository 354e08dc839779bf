//! TLS on both sides: certificates for clients, by the name they ask for; and the verification of servers.
//!
//! rustls with ring. TLS 1.2 and 1.3 and rustls's own choice of ciphers: nothing older is in the program. A server's
//! certificate is always checked; there is no switch for that, a private authority goes into a file (`ca`).
//!
//! Certificates are chosen by the DNS names inside them (subject alternative names, exact before `*.`), so a configuration
//! lists files and no names. The first listed is for clients that ask for none of these names, or for none at all. Of
//! several certificates for one name, say ECDSA and RSA, the first counts that the client can verify.
//!
//! A reload of the config reads the files again and makes new [`Certificates`] for the handshakes to come; connections stay as
//! they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those that lead from it to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is wrong, and with which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate is configured.
    #[error("TLS needs at least one certificate")]
    None,
    /// The file cannot be read.
    #[error("cannot read `{file}`: {why}", file = .0.display(), why = .1)]
    Read(PathBuf, #[source] std::io::Error),
    /// Its PEM is broken.
    #[error("`{file}` is not valid PEM: {why}", file = .0.display(), why = .1)]
    Pem(PathBuf, String),
    /// The file has no certificate.
    #[error("there is no certificate in `{file}`{hint}", file = .0.display(), hint = .1)]
    NoCertificate(PathBuf, &'static str),
    /// The file has no private key.
    #[error("there is no private key in `{file}`{hint}", file = .0.display(), hint = .1)]
    NoKey(PathBuf, &'static str),
    /// A certificate in it cannot be used.
    #[error("certificate {number} in `{file}` cannot be used: {why}", file = .0.display(), number = .1, why = .2)]
    Certificate(PathBuf, usize, String),
    /// The key in it cannot be used.
    #[error("the private key in `{file}` cannot be used: {why}", file = .0.display(), why = .1)]
    Key(PathBuf, String),
    /// The key does not belong to the certificate.
    #[error("the key in `{key}` does not fit the certificate in `{file}`{hint}", file = .0.display(), key = .1.display(), hint = .2)]
    Mismatch(PathBuf, PathBuf, &'static str),
    /// Anything else that rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error::Read(file.to_owned(), error))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| Error::Pem(file.to_owned(), error.to_string()))?;
    if all.is_empty() {
        let hint = match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(_) => ", but a private key: are the two files swapped?",
            Err(_) => "",
        };
        return Err(Error::NoCertificate(file.to_owned(), hint));
    }
    Ok(all)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let encrypted = bytes.windows(21).any(|part| part == b"ENCRYPTED PRIVATE KEY");
            let hint = if encrypted {
                ": it is encrypted; write it without a password, readable by this user only"
            } else {
                ""
            };
            Error::NoKey(file.to_owned(), hint)
        }
        error => Error::Pem(file.to_owned(), error.to_string()),
    })
}

/// A certificate with its key, checked against each other.
fn read_pair(files: &Files) -> Result<CertifiedKey, Error> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_key(&files.key)?;
    let provider = ring::default_provider();
    let signing = provider.key_provider.load_private_key(key);
    let signing = signing.map_err(|error| Error::Key(files.key.clone(), error.to_string()))?;
    let fits = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], signing.clone()).keys_match()
    };
    for (i, certificate) in chain.iter().enumerate() {
        X509Certificate::from_der(certificate)
            .map_err(|error| Error::Certificate(files.certificate.clone(), i + 1, error.to_string()))?;
    }
    match fits(&chain[0]) {
        Ok(()) => Ok(CertifiedKey::new(chain, signing)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let later = chain.iter().skip(1).any(|certificate| fits(certificate).is_ok());
            let hint = if later { ", which has to come first in its file" } else { "" };
            Err(Error::Mismatch(files.certificate.clone(), files.key.clone(), hint))
        }
        Err(error) => Err(Error::Certificate(files.certificate.clone(), 1, error.to_string())),
    }
}

/// The certificates that a handshake chooses from.
#[derive(Debug, Default)]
struct Table {
    /// By lower-case name; `*.example.org` is under `.example.org`.
    names: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// As listed.
    all: Vec<Arc<CertifiedKey>>,
}

impl Table {
    fn load(files: &[Files], now: Timestamp) -> Result<(Table, Vec<String>), Error> {
        let (mut table, mut warnings) = (Table::default(), Vec::new());
        for pair in files {
            let certified = Arc::new(read_pair(pair)?);
            // Parsed once already.
            if let Some((_, certificate)) = certified.cert.first().and_then(|der| X509Certificate::from_der(der).ok()) {
                warnings.extend(out_of_date(&pair.certificate, &certificate, now));
                for name in dns_names(&certificate) {
                    table.names.entry(name).or_default().push(certified.clone());
                }
            }
            table.all.push(certified);
        }
        if table.all.is_empty() { Err(Error::None) } else { Ok((table, warnings)) }
    }

    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let wildcard = name.as_deref().and_then(|name| name.find('.').map(|dot| &name[dot..]));
        let of = |name: &str| self.names.get(name).map(Vec::as_slice).filter(|pairs| !pairs.is_empty());
        let pairs = name.as_deref().and_then(of).or_else(|| wildcard.and_then(of)).unwrap_or(&self.all);
        let verifiable = pairs.iter().find(|pair| pair.key.choose_scheme(schemes).is_some());
        verifiable.or(pairs.first()).cloned()
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let lower = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(lower).collect()
}

fn out_of_date(file: &Path, certificate: &X509Certificate<'_>, now: Timestamp) -> Option<String> {
    let when =
        |seconds: i64| Timestamp::from_second(seconds).map_or_else(|_| "some time".to_owned(), |time| time.to_string());
    let (from, to) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    if now.as_second() > to {
        return Some(format!("the certificate in `{}` has expired: it was valid until {}", file.display(), when(to)));
    }
    (now.as_second() < from)
        .then(|| format!("the certificate in `{}` is not valid yet, but from {} on", file.display(), when(from)))
}

/// The certificates of a listener, chosen by the name that a client asks for (SNI).
#[derive(Debug)]
pub struct Certificates(Table);

impl Certificates {
    /// Reads them; also gives warnings, for instance of those that have expired.
    pub fn load(files: &[Files], now: Timestamp) -> Result<(Arc<Certificates>, Vec<String>), Error> {
        let (table, warnings) = Table::load(files, now)?;
        Ok((Arc::new(Certificates(table)), warnings))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.find(hello.server_name(), hello.signature_schemes())
    }
}

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

fn protocols(http2: bool) -> Vec<Vec<u8>> {
    if http2 { vec![H2.to_vec(), HTTP_1_1.to_vec()] } else { vec![HTTP_1_1.to_vec()] }
}

/// The TLS of a listener: HTTP/2 or HTTP/1.1, whichever comes first here that the client offers (ALPN, RFC 7301).
/// Sessions are resumed by tickets, whose keys exist only in the process's memory.
pub fn server_config(certificates: Arc<Certificates>, http2: bool) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = protocols(http2);
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The TLS of connections to the servers of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// PEM file with the trusted certificate authorities for servers; `None` uses Mozilla's list.
    pub ca: Option<PathBuf>,
    /// The client certificate that is sent to servers that ask for one (mutual TLS); `None` shows none.
    pub client: Option<Files>,
    /// Whether HTTP/2 is offered as well as HTTP/1.1.
    pub http2: bool,
}

/// The configuration for connections to servers.
pub fn client_config(upstream: &Upstream) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    match &upstream.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for (i, certificate) in read_certificates(file)?.into_iter().enumerate() {
                let added = roots.add(certificate);
                added.map_err(|error| Error::Certificate(file.clone(), i + 1, error.to_string()))?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match &upstream.client {
        None => builder.with_no_client_auth(),
        Some(files) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(read_pair(files)?))),
    };
    config.alpn_protocols = protocols(upstream.http2);
    Ok(Arc::new(config))
}

/// A version of TLS as the access log has it: `TLSv1.3`.
pub fn version_name(version: Option<rustls::ProtocolVersion>) -> &'static str {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use rustls::pki_types::ServerName;
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConnection, ProtocolVersion, ServerConnection};

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn params(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
        fn pair(&self, name: &str, certificate: &str, key: &KeyPair) -> Files {
            let certificate = self.write(&format!("{name}.crt"), certificate);
            Files { certificate, key: self.write(&format!("{name}.key"), &key.serialize_pem()) }
        }
        fn issue(&self, name: &str, authority: &Authority, params: &CertificateParams, key: &KeyPair) -> Files {
            self.pair(name, &params.signed_by(key, authority).unwrap().pem(), key)
        }
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn der(files: &Files) -> CertificateDer<'static> {
        read_certificates(&files.certificate).unwrap().remove(0)
    }

    struct Pair(ClientConnection, ServerConnection);

    impl Pair {
        /// Moves bytes both ways until nothing moves.
        fn pump(&mut self) -> Result<(), rustls::Error> {
            loop {
                let mut moved = 0;
                let mut bytes = Vec::new();
                while self.0.wants_write() {
                    moved += self.0.write_tls(&mut bytes).unwrap();
                }
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    self.1.read_tls(&mut rest).unwrap();
                    self.1.process_new_packets()?;
                }
                let mut bytes = Vec::new();
                while self.1.wants_write() {
                    moved += self.1.write_tls(&mut bytes).unwrap();
                }
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    self.0.read_tls(&mut rest).unwrap();
                    self.0.process_new_packets()?;
                }
                if moved == 0 {
                    return Ok(());
                }
            }
        }

        fn say(&mut self, text: &str) -> String {
            self.0.writer().write_all(text.as_bytes()).unwrap();
            self.pump().unwrap();
            let mut heard = vec![0; text.len()];
            self.1.reader().read_exact(&mut heard).unwrap();
            String::from_utf8(heard).unwrap()
        }

        fn shown(&self) -> CertificateDer<'static> {
            self.0.peer_certificates().unwrap()[0].clone().into_owned()
        }
    }

    fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Pair, rustls::Error> {
        let client = ClientConnection::new(client.clone(), ServerName::try_from(name.to_owned()).unwrap())?;
        let mut pair = Pair(client, ServerConnection::new(server.clone())?);
        pair.pump()?;
        Ok(pair)
    }

    #[test]
    fn certificates_are_chosen_by_name_and_live_connections_keep_theirs() {
        let folder = Folder::new();
        let root = authority("root");
        let ca = folder.write("ca.crt", &root.pem());
        let key = || KeyPair::generate().unwrap();
        let first = folder.issue("first", &root, &params(&["default.example"]), &key());
        let exact = folder.issue("exact", &root, &params(&["a.example.org", "127.0.0.1"]), &key());
        let wild = folder.issue("wild", &root, &params(&["*.example.org"]), &key());
        let files = [first.clone(), exact.clone(), wild.clone()];
        let (certificates, warnings) = Certificates::load(&files, now()).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let server = server_config(certificates, true).unwrap();
        let fresh = || client_config(&Upstream { ca: Some(ca.clone()), http2: true, client: None }).unwrap();
        let client = fresh();
        for (name, files) in [
            ("default.example", &first),
            ("a.example.org", &exact),
            ("A.Example.Org", &exact),
            ("b.example.org", &wild),
        ] {
            let pair = handshake(&client, &server, name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(pair.shown(), der(files), "{name}");
            assert_eq!(pair.0.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(pair.1.alpn_protocol(), Some(H2));
        }
        // An unknown name gets the first certificate; a client that verifies it closes the connection.
        for name in ["c.b.example.org", "example.org", "other.example"] {
            assert!(handshake(&client, &server, name).is_err(), "{name}");
        }
        let old = client_config(&Upstream { ca: Some(ca.clone()), ..Upstream::default() }).unwrap();
        assert_eq!(handshake(&old, &server, "a.example.org").unwrap().1.alpn_protocol(), Some(HTTP_1_1));

        let mut alive = handshake(&client, &server, "a.example.org").unwrap();
        let renewed = folder.issue("exact", &root, &params(&["a.example.org"]), &key());
        let (certificates, _) = Certificates::load(&files, now()).unwrap();
        let server = server_config(certificates, true).unwrap();
        assert_eq!(handshake(&client, &server, "a.example.org").unwrap().shown(), der(&renewed));
        assert_eq!(alive.say("still here"), "still here");
        assert!(matches!(Certificates::load(&[], now()), Err(Error::None)));
    }

    #[test]
    fn of_two_for_one_name_the_client_gets_what_it_can_verify() {
        let folder = Folder::new();
        let root = authority("root");
        let (p384, ed) =
            (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let files = [
            folder.issue("ed", &root, &params(&["a.example"]), &ed),
            folder.issue("p384", &root, &params(&["a.example"]), &p384),
        ];
        let (table, _) = Table::load(&files, now()).unwrap();
        let find = |schemes: &[SignatureScheme]| table.find(Some("a.example"), schemes).unwrap().cert[0].clone();
        assert_eq!(find(&[SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519]), der(&files[0]));
        assert_eq!(find(&[SignatureScheme::ECDSA_NISTP384_SHA384]), der(&files[1]));
        assert_eq!(find(&[]), der(&files[0]));
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let folder = Folder::new();
        let root = authority("root");
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let good = folder.issue("good", &root, &params(&["a.example"]), &key);
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let chain = folder.write("turned.crt", &(root.pem() + &text(&good.certificate)));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAo=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = folder.write("broken.crt", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        let nonsense = folder.write("nonsense.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let odd = folder.write("odd.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let empty = folder.write("empty", "");
        let other = folder.write("other.key", &other.serialize_pem());
        let missing = folder.0.path().join("missing");
        let with = |certificate: &Path, key: &Path| Files { certificate: certificate.to_owned(), key: key.to_owned() };
        for (files, file, why) in [
            (with(&missing, &good.key), "missing", "cannot read"),
            (with(&good.certificate, &missing), "missing", "cannot read"),
            (with(&empty, &good.key), "empty", "there is no certificate"),
            (with(&good.key, &good.certificate), "good.key", "swapped"),
            (with(&good.certificate, &empty), "empty", "there is no private key"),
            (with(&good.certificate, &folder.write("enc.key", encrypted)), "enc.key", "encrypted"),
            (with(&broken, &good.key), "broken.crt", "not valid PEM"),
            (with(&nonsense, &good.key), "nonsense.crt", "certificate 1"),
            (with(&good.certificate, &odd), "odd.key", "cannot be used"),
            (with(&good.certificate, &other), "other.key", "does not fit"),
            (with(&chain, &good.key), "turned.crt", "has to come first"),
        ] {
            let error = Certificates::load(&[files], now()).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(why), "{file}: {error}");
        }
        assert!(client_config(&Upstream { ca: Some(empty), ..Upstream::default() }).is_err());
        assert!(client_config(&Upstream { ca: Some(nonsense), ..Upstream::default() }).is_err());
    }

    #[test]
    fn what_is_out_of_date_is_a_warning() {
        let folder = Folder::new();
        let root = authority("root");
        for (from, to, why) in
            [(2020, 2021, "has expired: it was valid until 2021-01-01"), (2030, 2031, "from 2030-01-01")]
        {
            let mut params = params(&["a.example"]);
            (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
            let files = folder.issue("old", &root, &params, &KeyPair::generate().unwrap());
            let (_, warnings) = Certificates::load(&[files], now()).unwrap();
            assert!(
                warnings.len() == 1 && warnings[0].contains(why) && warnings[0].contains("old.crt"),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn servers_are_checked_and_can_check_us() {
        let folder = Folder::new();
        let (root, stranger) = (authority("root"), authority("stranger"));
        let key = || KeyPair::generate().unwrap();
        let files = folder.issue("server", &root, &params(&["up.example", "::1"]), &key());
        let us = folder.issue("us", &root, &params(&["proxy.example"]), &key());
        let ca = folder.write("ca.crt", &(stranger.pem() + &root.pem()));
        let wrong = folder.write("wrong.crt", &stranger.pem());
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let chain = vec![der(&files)];
        let strict = builder.with_client_cert_verifier(verifier).with_single_cert(chain, read_key(&files.key).unwrap());
        let strict = Arc::new(strict.unwrap());
        let plain = server_config(Certificates::load(&[files], now()).unwrap().0, true).unwrap();
        let client = |ca: Option<&PathBuf>, client: Option<&Files>| {
            client_config(&Upstream { ca: ca.cloned(), client: client.cloned(), http2: false }).unwrap()
        };
        assert!(handshake(&client(Some(&ca), None), &plain, "up.example").is_ok());
        assert!(handshake(&client(Some(&ca), None), &plain, "::1").is_ok());
        assert!(handshake(&client(Some(&ca), None), &plain, "down.example").is_err(), "another name");
        assert!(handshake(&client(Some(&wrong), None), &plain, "up.example").is_err(), "another authority");
        assert!(handshake(&client(None, None), &plain, "up.example").is_err(), "not of the web's");
        assert!(handshake(&client(Some(&ca), Some(&us)), &strict, "up.example").is_ok());
        assert!(handshake(&client(Some(&ca), None), &strict, "up.example").is_err(), "it wants to know who asks");
    }
}
