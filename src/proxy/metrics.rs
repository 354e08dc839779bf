//! stub
#![allow(missing_docs, unused)]
use super::reason::Reason; use crate::policy::retry::Failure; use crate::units::Nanos; use http::StatusCode; use std::time::Duration; use std::sync::Arc;
#[derive(Default)] pub struct ServerMetrics; 
impl ServerMetrics { pub fn reused(&self){} pub fn opened(&self){} pub fn closed(&self){} pub fn started(&self){} pub fn ended(&self){} pub fn answered(&self,_:Nanos){} pub fn request(&self,_:StatusCode,_:Duration,_:u64,_:u64){} pub fn retried(&self,_:Failure){} pub fn hedged(&self){} pub fn eligible(&self,_:bool){} pub fn ejected(&self,_:&str){} }
#[derive(Default)] pub struct PoolMetrics; impl PoolMetrics { pub fn queued(&self,_:usize){} pub fn own_answer(&self,_:Reason){} }
#[derive(Default)] pub struct ProxyMetrics { pub log_dropped: prometheus_client::metrics::counter::Counter }
impl ProxyMetrics { pub fn new()->Self{Self::default()} pub fn encode(&self)->String{String::new()} pub fn reloaded(&self,_:bool){} pub fn connection_opened(&self){} pub fn connection_closed(&self){} pub fn connection_refused(&self){} pub fn own_answer(&self,_:Reason){} pub fn server(&self,_:&str,_:&str)->Arc<ServerMetrics>{Arc::default()} pub fn pool(&self,_:&str)->Arc<PoolMetrics>{Arc::default()} }
pub fn build_info(){}
