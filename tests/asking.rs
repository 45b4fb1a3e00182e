//! Questions to another node: the answer reaches whoever awaits it, wherever and whenever that is, and whatever
//! the handler returns.

mod support;

use std::task::{Context as TaskContext, Waker};

use actix::dev::{MessageResponse, OneshotSender};
use actix::{AtomicResponse, MessageResult, ResponseFuture, WrapFuture};
use futures::executor::block_on;
use futures::future::ready;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use pspawn::SendError;
use pspawn::prelude::*;
use serde::Serializer;
use support::TestPool;

#[actix::test]
async fn an_answer_reaches_whoever_awaits_it() {
    let pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let answerer = pool.spawn_on::<Answerer>(slaves[0], ()).await.expect("it starts");
    for node in [slaves[1], pool.here()] {
        let asked = pool.call_on::<Vec<u64>>(node, "asking", "in_each_way", (answerer.clone(),));
        let answers = asked.await.expect("it starts").await.expect("it returns");
        assert_eq!(answers, (0..answers.len() as u64).collect::<Vec<_>>());
    }
    pool.stop().await;
}

/// Asks for its own number in each way; returns the answers.
async fn in_each_way(_: Ctx, answerer: RemoteAddr<Answerer>) -> Vec<u64> {
    let ask = |number| answerer.send(Same(number));
    let mut answers = vec![ask(0).await];
    let in_a_later_turn = ask(1);
    ask(0).await.expect("it is answered after the one above");
    answers.push(in_a_later_turn.await);
    let at_once = ask(2);
    let late = ask(3);
    answers.push(at_once.await);
    answers.push(late.await);
    // A set polls only those of its futures that were woken.
    answers.extend(FuturesOrdered::from_iter([ask(4), ask(5)]).collect::<Vec<_>>().await);
    answers.push(actix_rt::spawn(ask(6)).await.expect("it ends"));
    let of_another_thread = ask(7);
    answers.push(pspawn::blocking(move || block_on(of_another_thread)).await);
    let mut looked_for_before = ask(8);
    let mut nobody = TaskContext::from_waker(Waker::noop());
    assert!(looked_for_before.poll_unpin(&mut nobody).is_pending());
    answers.push(looked_for_before.await);
    let mut looked_for_twice = ask(9);
    assert_eq!((&mut looked_for_twice).now_or_never(), None);
    assert_eq!((&mut looked_for_twice).now_or_never(), None);
    answers.push(looked_for_twice.await);
    answers.push(ask(10).within(DAY).await);
    answers.into_iter().map(|answer| answer.expect("it is answered")).collect()
}

#[actix::test]
async fn whatever_a_handler_returns_is_the_answer() {
    let pool = TestPool::start(1).await;
    let slaves = pool.slaves().await;
    let answerer = pool.spawn_on::<Answerer>(slaves[0], ()).await.expect("it starts");
    assert_eq!(answerer.send(Same(1)).await, Ok(1));
    assert_eq!(answerer.send(Nothing).await, Ok(()));
    assert_eq!(answerer.send(Text).await, Ok("text".to_owned()));
    assert_eq!(answerer.send(Wrapped(2)).await, Ok(Wrapped(2)));
    assert_eq!(answerer.send(Fallible(3)).await, Ok(Err(3)));
    assert_eq!(answerer.send(Own(4)).await, Ok(5), "its response adds one");
    assert_eq!(answerer.send(Late(6)).await, Ok(6));
    assert_eq!(answerer.send(Waiting(7)).await, Ok(7));
    pool.stop().await;
}

#[actix::test]
async fn an_answer_that_panics_when_it_is_written_ends_the_actor_and_says_so() {
    let pool = TestPool::start(1).await;
    let slaves = pool.slaves().await;
    let answerer = pool.spawn_on::<Answerer>(slaves[0], ()).await.expect("it starts");
    let Err(SendError::Exit { reason, .. }) = answerer.send(Bad(1)).within(DAY).await else {
        panic!("it does not end");
    };
    assert!(matches!(&reason, ExitReason::Panicked { text, .. } if text == "cannot be written"));
    pool.stop().await;
}

struct Answerer;

impl Actor for Answerer {
    type Context = Context<Self>;
}

macro_rules! message {
    ($name:ident($($field:ty)?) -> $result:literal, $response:ty = $handle:expr) => {
        #[derive(Clone, Copy, Debug, PartialEq, Message, Serialize, Deserialize)]
        #[rtype(result = $result)]
        struct $name $(($field))?;

        impl Handler<$name> for Answerer {
            type Result = $response;

            fn handle(&mut self, message: $name, _: &mut Context<Self>) -> $response {
                ($handle)(message)
            }
        }
    };
}

message!(Same(u64) -> "u64", u64 = |Same(number)| number);
message!(Nothing() -> "()", () = |Nothing| ());
message!(Text() -> "String", String = |Text| "text".to_owned());
message!(Wrapped(u64) -> "Wrapped", MessageResult<Wrapped> = MessageResult);
message!(Fallible(u64) -> "Result<(), u64>", Result<(), u64> = |Fallible(number)| Err(number));
message!(Own(u64) -> "u64", PlusOne = |Own(number)| PlusOne(number));
message!(Late(u64) -> "u64", ResponseFuture<u64> = |Late(number)| Box::pin(ready(number)));
message!(Waiting(u64) -> "u64", AtomicResponse<Self, u64> =
    |Waiting(number)| AtomicResponse::new(Box::pin(ready(number).into_actor(&Answerer))));

message!(Bad(u64) -> "Unwritable", MessageResult<Bad> = |Bad(_)| MessageResult(Unwritable));

#[derive(Debug, Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("cannot be written")
    }
}

/// A response that is not the result.
struct PlusOne(u64);

impl<A: Actor, M: Message<Result = u64>> MessageResponse<A, M> for PlusOne {
    fn handle(self, _: &mut A::Context, tell: Option<OneshotSender<u64>>) {
        if let Some(tell) = tell {
            tell.send(self.0 + 1).expect("somebody waits");
        }
    }
}

remote_actor!(Answerer as "asking_answerer", new() = Answerer,
    handles[Same, Nothing, Text, Wrapped, Fallible, Own, Late, Waiting, Bad]);
remote_fn!("asking": in_each_way);

const DAY: Duration = Duration::from_secs(24 * 3600);
