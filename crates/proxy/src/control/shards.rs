//! The shards as the control thread reaches them.

use std::cell::RefCell;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use crate::shard::Command;

/// A channel to each shard.
#[derive(Default)]
pub(super) struct Shards(RefCell<Vec<mpsc::UnboundedSender<Command>>>);

impl Shards {
    /// Adds a shard's channel.
    pub(super) fn push(&self, shard: mpsc::UnboundedSender<Command>) {
        self.0.borrow_mut().push(shard);
    }

    /// The number of shards.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Sends a command to every shard.
    pub(super) fn tell_all(&self, command: impl FnMut() -> Command) {
        self.tell_each(std::iter::repeat_with(command));
    }

    /// Sends one of these commands to each shard, in order.
    pub(super) fn tell_each(&self, commands: impl IntoIterator<Item = Command>) {
        for (shard, command) in self.0.borrow().iter().zip(commands) {
            let _ = shard.send(command);
        }
    }

    /// Asks every shard, at once. The future collects the responses; a shard that has ended gives none.
    pub(super) fn ask_all<T>(
        &self,
        command: fn(oneshot::Sender<T>) -> Command,
    ) -> impl Future<Output = Vec<T>> + use<T> {
        let mut answers = Vec::new();
        self.tell_all(|| {
            let (tell, told) = oneshot::channel();
            answers.push(told);
            command(tell)
        });
        async move {
            let mut all = Vec::new();
            for answer in answers {
                all.extend(answer.await);
            }
            all
        }
    }

    /// Lets the shards end: they have no more commands.
    pub(super) fn end(&self) {
        self.0.borrow_mut().clear();
    }
}
