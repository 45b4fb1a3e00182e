//! The smallest actor: it answers what it got.
//!
//! A message is a serde value that says what it is answered with. The last line registers the actor: the
//! name it is started by on any node, how it is made, and the messages it takes from other nodes.
//!
//! ```
//! use pspawn::prelude::*;
//! use pspawn_actors::echo::{Echo, Say};
//!
//! # fn main() -> ExitCode {
//! pspawn::run(|| async {
//!     # let pool = Pool::builder("doc").cookie(pspawn::Cookie::random().unwrap()).local(1);
//!     # let pool = pool.start().await?;
//!     let echo = pool.pspawn::<Echo>(()).await?;
//!     assert_eq!(echo.send(Say("hello".to_owned())).await?, "hello");
//!     pool.stop().await
//! })
//! # }
//! ```

use pspawn::prelude::*;

/// Answers what it got.
#[derive(Debug)]
pub struct Echo;

/// Is answered with its text.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "String")]
pub struct Say(pub String);

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Say> for Echo {
    type Result = String;

    fn handle(&mut self, Say(text): Say, _: &mut Context<Self>) -> String {
        text
    }
}

remote_actor!(Echo as "echo", new() = Echo, handles[Say]);
