//! stub
#![allow(missing_docs, unused)]
use std::sync::Arc; use std::net::SocketAddr; use std::time::Duration; use crate::config::proxy::DnsTable;
pub struct Resolver; pub struct Found{pub addresses: Option<Arc<[SocketAddr]>>, pub valid_for: Duration}
impl Resolver { pub fn new(_:DnsTable)->Result<Resolver,String>{Ok(Resolver)} pub async fn look_up(&self,_:&str,_:u16)->Found{Found{addresses:None,valid_for:Duration::from_secs(1)}} }
