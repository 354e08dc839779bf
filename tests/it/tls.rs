//! TLS through the running proxy: in front of clients, who choose a certificate by name and a protocol by ALPN, and
//! towards servers, whose certificates are verified. The server behind is another evenkeel.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets waits")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::front::{self, Front, servers};
use crate::support::Folder;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this name, as the config names it.
fn issue(folder: &Folder, authority: &Authority, file: &str, name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let cert = folder.file(&format!("{file}.pem"), &certificate.pem());
    let key = folder.file(&format!("{file}.key"), &key.serialize_pem());
    format!("{{ cert = {cert:?}, key = {key:?} }}")
}

/// A proxy before one server, on a listener with these certificates.
fn front(certificates: &str, servers: &str) -> Front {
    Front::start(&config(certificates, "", servers))
}

fn config(certificates: &str, pool: &str, servers: &str) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificates = [{certificates}] }}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[headers]\nupstream = true\n\
         [[pools]]\nname = \"web\"\nstrategy = \"round_robin\"\n{pool}\n{servers}"
    )
}

/// The result of a request over TLS.
#[derive(Debug)]
struct Said {
    status: u16,
    /// The protocol agreed on.
    alpn: Option<Vec<u8>>,
    /// The server's own certificate.
    certificate: Vec<u8>,
}

/// A GET as a client that believes this authority, offers these protocols and asks for this name.
fn ask(address: SocketAddr, authority: &Authority, name: &str, alpn: &[&[u8]]) -> Result<Said, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
        let session = stream.get_ref().1;
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        let certificate = session.peer_certificates().unwrap()[0].to_vec();
        let request = hyper::Request::get("https://site.test/x").header("host", "site.test");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = if alpn.as_deref() == Some(b"h2") {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = response.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        response.into_body().collect().await.map_err(|e| e.to_string())?;
        Ok(Said { status, alpn, certificate })
    })
}

#[test]
fn the_name_chooses_the_certificate_and_alpn_the_protocol() {
    let (folder, authority) = (Folder::new(), authority());
    let certificates =
        [("site", "site.test"), ("other", "other.test")].map(|(file, name)| issue(&folder, &authority, file, name));
    let backend = front::backend("a", 1.0);
    let proxy = front(&certificates.join(", "), &servers([&backend]));

    let two = ask(proxy.address(), &authority, "site.test", &[b"h2", b"http/1.1"]).unwrap();
    assert_eq!((two.status, two.alpn.as_deref()), (200, Some(b"h2".as_slice())));
    let one = ask(proxy.address(), &authority, "site.test", &[b"http/1.1"]).unwrap();
    assert_eq!((one.status, one.alpn.as_deref()), (200, Some(b"http/1.1".as_slice())));
    let silent = ask(proxy.address(), &authority, "site.test", &[]).unwrap();
    assert_eq!((silent.status, silent.alpn), (200, None));
    let other = ask(proxy.address(), &authority, "other.test", &[b"h2"]).unwrap();
    assert_eq!(other.status, 200);
    assert_ne!(other.certificate, two.certificate);
    assert_eq!(one.certificate, two.certificate);
    // A client that asks for an unknown name gets the first certificate, which does not match.
    let refused = ask(proxy.address(), &authority, "nobody.test", &[b"h2"]).unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    let refused = ask(proxy.address(), &self::authority(), "site.test", &[b"h2"]).unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    // Plain text is no handshake: the connection ends, and the next client does not notice.
    let mut plain = TcpStream::connect(proxy.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert_eq!(ask(proxy.address(), &authority, "site.test", &[b"h2"]).unwrap().status, 200);
    drop(proxy.stop());
}

#[test]
fn the_log_names_the_version_of_tls() {
    let (folder, authority) = (Folder::new(), authority());
    let backend = front::backend("a", 1.0);
    let file = folder.path().join("access.log");
    let log = format!("[log]\naccess = \"json\"\nfile = {file:?}\n[headers]");
    let certificate = issue(&folder, &authority, "site", "site.test");
    let proxy = Front::start(&config(&certificate, "", &servers([&backend])).replacen("[headers]", &log, 1));
    assert_eq!(ask(proxy.address(), &authority, "site.test", &[b"h2"]).unwrap().status, 200);
    drop(proxy.stop());
    let line: serde_json::Value = serde_json::from_str(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
    assert_eq!((&line["tls"], &line["protocol"]), (&"TLSv1.3".into(), &"HTTP/2.0".into()));
}

#[test]
fn a_new_certificate_is_served_after_a_reload() {
    let (folder, authority) = (Folder::new(), authority());
    let backend = front::backend("a", 1.0);
    let (old, new) = (issue(&folder, &authority, "old", "site.test"), issue(&folder, &authority, "new", "site.test"));
    let proxy = front(&old, &servers([&backend]));
    let before = ask(proxy.address(), &authority, "site.test", &[b"h2"]).unwrap();
    proxy.reload(&config(&new, "", &servers([&backend]))).unwrap();
    let after = ask(proxy.address(), &authority, "site.test", &[b"h2"]).unwrap();
    assert_eq!((before.status, after.status), (200, 200));
    assert_ne!(before.certificate, after.certificate);
    // An unreadable file is refused, and the old certificate stays in use.
    let missing = "{ cert = \"/nowhere/x.pem\", key = \"/nowhere/x.key\" }";
    let error = proxy.reload(&config(missing, "", &servers([&backend]))).unwrap_err();
    assert!(error.contains("x.pem"), "{error}");
    assert_eq!(ask(proxy.address(), &authority, "site.test", &[b"h2"]).unwrap().certificate, after.certificate);
    drop(proxy.stop());
}

#[test]
fn a_server_must_prove_its_name() {
    let (folder, authority) = (Folder::new(), authority());
    let backend = front::backend("a", 1.0);
    let behind = front(&issue(&folder, &authority, "inner", "inner.test"), &servers([&backend]));
    let ca = folder.file("ca.pem", &authority.pem());
    let strange = folder.file("strange.pem", &self::authority().pem());
    let server = format!("[[pools.servers]]\nname = \"inner\"\naddress = \"{}\"\n", behind.address());
    for (ca, name, protocol, status) in
        [(&ca, "inner.test", "http1", 200), (&ca, "other.test", "http1", 502), (&strange, "inner.test", "http1", 502)]
    {
        let pool = format!("strategy = \"p2c\"\nprotocol = \"{protocol}\"\ntls = {{ ca = {ca:?}, name = {name:?} }}");
        let proxy = Front::start(&front::config("", &pool, &server));
        let answer = front::request(proxy.address(), "GET", "/x", &[]);
        assert_eq!(answer.status, status, "{name} {ca:?}: {}", answer.head);
        if status == 502 {
            assert_eq!(answer.header("x-evenkeel-reason"), Some("connect_failed"), "{}", answer.head);
        }
        drop(proxy.stop());
    }
    drop(behind.stop());
}
