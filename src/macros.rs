//! The registrations `remote_actor!` and `remote_fn!`, and `say!`.

/// Registers an actor type: the name it is started by, how it is constructed from arguments that
/// travel, and the messages it takes from other nodes.
///
/// ```
/// use pspawn::prelude::*;
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[rtype(result = "i64")]
/// struct Inc(i64);
///
/// struct Counter { total: i64 }
/// impl Actor for Counter { type Context = Context<Self>; }
/// impl Handler<Inc> for Counter {
///     type Result = i64;
///     fn handle(&mut self, Inc(n): Inc, _: &mut Context<Self>) -> i64 { self.total += n; self.total }
/// }
/// remote_actor!(Counter as "counter", new(total: i64) = Counter { total }, handles[Inc]);
/// # fn main() {}
/// ```
///
/// With `guarded` after the name it starts only on nodes whose master allows the name
/// ([`PoolBuilder::allow`](crate::PoolBuilder::allow)).
#[macro_export]
macro_rules! remote_actor {
    ($actor:ty as $name:literal guarded, new $($rest:tt)*) => {
        $crate::remote_actor!(@ $actor, $name, true, $($rest)*);
    };
    ($actor:ty as $name:literal, new $($rest:tt)*) => {
        $crate::remote_actor!(@ $actor, $name, false, $($rest)*);
    };
    (@ $actor:ty, $name:literal, $guarded:literal,
     ($($param:ident : $type:ty),* $(,)?) = $new:expr, handles[$($message:ty),* $(,)?] $(,)?) => {
        impl $crate::Spawnable for $actor {
            const KIND: &'static str = $name;
            type Args = $crate::__args!(type $($type),*);

            fn construct(
                $crate::__args!(pattern $($param),*): Self::Args,
                _: &mut <Self as $crate::__private::actix::Actor>::Context,
            ) -> Self {
                $new
            }

            fn encode_args(
                $crate::__args!(pattern $($param),*): &Self::Args,
            ) -> ::std::result::Result<::std::vec::Vec<u8>, $crate::__private::EncodeError> {
                $crate::__private::encode_args(&($($param,)*))
            }

            fn accepted() -> &'static $crate::__private::Accepted<Self> {
                static ACCEPTED: ::std::sync::OnceLock<$crate::__private::Accepted<$actor>> =
                    ::std::sync::OnceLock::new();
                ACCEPTED.get_or_init(|| $crate::__private::Accepted::none()$(.with::<$message>())*)
            }
        }
        $(impl $crate::Accepts<$message> for $actor {})*
        impl $crate::Accepts<$crate::__private::Never> for $actor {}
        impl $crate::Accepts<$crate::__private::NeverEver> for $actor {}
        const _: () = {
            fn start(
                args: &[u8],
                seat: $crate::__private::Seat,
            ) -> $crate::__private::Started {
                match $crate::__private::decode_args::<($($type,)*)>(&seat, args) {
                    ::std::result::Result::Ok(($($param,)*)) => {
                        ::std::result::Result::Ok($crate::__private::host::<$actor>(seat, $crate::__args!(value $($param),*)))
                    }
                    ::std::result::Result::Err(why) => ::std::result::Result::Err($crate::__private::misfit(seat, &why, ENTRY.params)),
                }
            }
            #[$crate::__private::linkme::distributed_slice($crate::__private::ENTRIES)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENTRY: $crate::__private::Entry = $crate::__private::Entry {
                module: $name,
                function: "new",
                params: || $crate::__private::params(&[$((stringify!($param), stringify!($type))),*]),
                guarded: $guarded,
                messages: || $crate::__private::messages::<$actor>(),
                start,
            };
        };
    };
}

/// Registers `async fn`s of one module as function processes, each by its own name.
///
/// ```
/// use pspawn::prelude::*;
///
/// async fn cube(ctx: Ctx, to: Pid, x: i64) { ctx.send(to, (ctx.pid(), x * x * x)); }
/// async fn cube_of(_: Ctx, x: i64) -> i64 { x * x * x }
/// remote_fn!("math": cube, cube_of);
/// # fn main() {}
/// ```
///
/// With `guarded` after the name they start only on nodes whose master allows the name.
#[macro_export]
macro_rules! remote_fn {
    ($module:literal guarded : $($function:ident),+ $(,)?) => {
        $($crate::remote_fn!(@ $module, true, $function);)+
    };
    ($module:literal : $($function:ident),+ $(,)?) => {
        $($crate::remote_fn!(@ $module, false, $function);)+
    };
    (@ $module:literal, $guarded:literal, $function:ident) => {
        const _: () = {
            fn start(
                args: &[u8],
                seat: $crate::__private::Seat,
            ) -> $crate::__private::Started {
                $crate::__private::start_fn($function, args, seat)
            }
            #[$crate::__private::linkme::distributed_slice($crate::__private::ENTRIES)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENTRY: $crate::__private::Entry = $crate::__private::Entry {
                module: $module,
                function: stringify!($function),
                params: || $crate::__private::params_of($function),
                guarded: $guarded,
                messages: || ::std::vec::Vec::new(),
                start,
            };
        };
    };
}

/// One parameter is itself, none or several are a tuple.
#[doc(hidden)]
#[macro_export]
macro_rules! __args {
    (type $type:ty) => { $type };
    (type $($type:ty),*) => { ($($type,)*) };
    (pattern $param:ident) => { $param };
    (pattern $($param:ident),*) => { ($($param,)*) };
    (value $param:ident) => { $param };
    (value $($param:ident),*) => { ($($param,)*) };
}

/// Prints a line on the terminal of whoever started the running actor, wherever in the pool that was,
/// with the node's name in front: Erlang's `io:format` to the group leader.
///
/// ```no_run
/// pspawn::say!("tile {} of {}", 3, 24);
/// ```
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::__private::say(&::std::format!($($arg)*)) };
}
