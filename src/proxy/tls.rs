//! stub
#![allow(missing_docs, unused)]
use tokio::net::TcpStream; use std::sync::Arc; use crate::config::proxy::*;
#[derive(Clone)] pub struct Acceptor(tokio_rustls::TlsAcceptor);
impl Acceptor { pub fn new(_: &[CertificateTable], _: bool)->Result<Acceptor,String>{Err("no".into())} pub async fn accept(&self, s: TcpStream)->std::io::Result<tokio_rustls::server::TlsStream<TcpStream>>{ self.0.accept(s).await } }
pub fn client(_: &UpstreamTlsTable)->Result<Arc<rustls::ClientConfig>,String>{Err("no".into())}
