//! Strategies that are not in the catalogue: any [`Selector`] under a name.

use std::fmt;
use std::sync::Arc;

use super::strategies::StrategyConfig;
use super::{Selector, Signals};
use crate::rng::Rng;

/// Builds a selector; called once for each balancer, shard and part of a divided fleet.
type Factory = dyn Fn(&mut Rng) -> Box<dyn Selector> + Send + Sync;

/// A strategy of one's own. The simulator and balancers accept it wherever they take a [`StrategyConfig`], so it is
/// measured, checked and compared as those of the catalogue are.
///
/// ```
/// use evenkeel_core::select::{Context, CustomStrategy, Pick, Request, Selector, candidates};
/// use evenkeel_core::select::catalog::StrategyConfig;
///
/// /// Always the first eligible server.
/// struct First;
///
/// impl Selector for First {
///     fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
///         let slot = candidates(request, cx.fleet).next()?;
///         Some(Pick { backend: cx.fleet.id(slot), tag: 0 })
///     }
/// }
///
/// let strategy: StrategyConfig = CustomStrategy::new("first", |_rng| Box::new(First)).into();
/// assert_eq!(strategy.name(), "first");
/// ```
#[derive(Clone)]
pub struct CustomStrategy {
    name: &'static str,
    signals: Signals,
    limits: bool,
    oracle: bool,
    factory: Arc<Factory>,
}

impl CustomStrategy {
    /// A strategy that `factory` builds selectors for. `name` is used in tables and charts; it should not be one of the
    /// catalogue's. The `Rng` is the selector's own stream: the same seed gives the same draws.
    pub fn new(
        name: &'static str,
        factory: impl Fn(&mut Rng) -> Box<dyn Selector> + Send + Sync + 'static,
    ) -> CustomStrategy {
        CustomStrategy { name, signals: Signals::NONE, limits: false, oracle: false, factory: Arc::new(factory) }
    }

    /// Says what servers should send or answer. Default: nothing.
    pub fn with_signals(self, signals: Signals) -> CustomStrategy {
        CustomStrategy { signals, ..self }
    }

    /// Says that [`Selector::limit`] returns `Some` for some server. Without it the host does not call it.
    pub fn with_limits(self) -> CustomStrategy {
        CustomStrategy { limits: true, ..self }
    }

    /// Says that the selector reads [`super::Context::truth`]: it is lent the true state of the servers, and only the
    /// simulator can run it.
    pub fn with_truth(self) -> CustomStrategy {
        CustomStrategy { oracle: true, ..self }
    }

    /// The name in tables and charts.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What servers should send or answer.
    pub fn signals(&self) -> Signals {
        self.signals
    }

    /// Whether it limits the requests at a server.
    pub fn limits(&self) -> bool {
        self.limits
    }

    /// Whether it needs the true state of the servers.
    pub fn oracle(&self) -> bool {
        self.oracle
    }

    /// A new selector.
    pub fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
        (self.factory)(rng)
    }
}

impl From<CustomStrategy> for StrategyConfig {
    fn from(custom: CustomStrategy) -> StrategyConfig {
        StrategyConfig::Custom(custom)
    }
}

/// Two are the same when one is a clone of the other.
impl PartialEq for CustomStrategy {
    fn eq(&self, other: &CustomStrategy) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.factory, &other.factory)
    }
}

impl fmt::Debug for CustomStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomStrategy").field(&self.name).finish()
    }
}

/// Its name, for manifests of results. It cannot be read back.
#[cfg(feature = "config")]
impl serde::Serialize for CustomStrategy {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name)
    }
}
