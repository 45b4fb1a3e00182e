%% Erlang's side of the workloads: each as one writes it in Erlang, with plain messages.
%% Two or more nodes on this host. The near one measures and prints lines: figure NUMBER; or, to be killed,
%% kill OS-PROCESS, noticed NANOSECONDS and at last done. All of them end with their standard input.
-module(bench).
-export([main/0, peer/0]).
-export([sink/2, echo/0, asker/2, spawner/2, nothing/1, report/1, idle/0, caller/3, pool_start/1]).
-export([flood_of_jobs/2, paced_jobs/2, job/2, slot_job/3, slot/0, slow/0]).

main() ->
    end_with_input(),
    [Name, Effort0 | Others] = init:get_plain_arguments(),
    Words = [string:split(Word, "=") || Word <- string:lexemes(Effort0, ",")],
    Effort = maps:from_list([{list_to_atom(What), list_to_integer(Number)} || [What, Number] <- Words]),
    Nodes = [list_to_atom(Node) || Node <- Others],
    [await(Node) || Node <- Nodes],
    case measure(Name, Nodes, Effort) of
        done -> io:format("done~n");
        Figure -> io:format("figure ~w~n", [float(Figure)])
    end,
    receive stop -> ok end.

peer() ->
    end_with_input(),
    io:format("up~n").

end_with_input() ->
    spawn(fun() -> eof = io:get_line(""), erlang:halt(0, [{flush, false}]) end).

await(Node) ->
    net_kernel:connect_node(Node) =:= true orelse begin timer:sleep(10), await(Node) end.

measure("oneway_64", [Far], Effort) -> oneway(Far, 64, Effort);
measure("oneway_1k", [Far], Effort) -> oneway(Far, 1024, Effort);
measure("oneway_64k", [Far], Effort) -> oneway(Far, 65536, Effort) * 65536 / 1.0e6;
measure("oneway_1m", [Far], Effort) -> oneway(Far, 1048576, Effort) * 1048576 / 1.0e6;
measure("ask_1", [Far], Effort) -> ask_one(Far, Effort);
measure("ask_64", [Far], Effort) -> several(askers(Far, 64), Effort);
measure("ask_1024", [Far], Effort) -> several(askers(Far, 1024), Effort);
measure("spawn_1", [Far], Effort) -> several(spawners(Far, 1), Effort);
measure("spawn_64", [Far], Effort) -> several(spawners(Far, 64), Effort);
measure("pspawn", Nodes, Effort) ->
    pool(Nodes),
    several(callers(64, pspawn, [?MODULE, nothing, [1]]), Effort);
measure("get_node_100", Nodes, Effort) ->
    pool(Nodes),
    several(callers(100, get_node, []), Effort);
measure("local_spawn", [], Effort) -> local_spawn(Effort);
measure("local_oneway", [], Effort) -> local_oneway(Effort);
measure("local_ask", [], Effort) -> local_ask(Effort);
measure("idle_process_bytes", [], Effort) -> idle_bytes(Effort);
measure("idle_actor_bytes", [], Effort) -> idle_bytes(Effort);
measure("kill_notice", Nodes, _) -> [watch(Node) || Node <- Nodes], done;
measure("makespan", Nodes, _) -> erpc:call(pool(Nodes), ?MODULE, flood_of_jobs, jobs());
measure("sojourn_p99", Nodes, _) -> erpc:call(pool(Nodes), ?MODULE, paced_jobs, jobs());
measure("backpressure", [Far], Effort) -> flood_mib(slow(Far), Effort);
measure("beside_flood", [Far], Effort) ->
    Slow = slow(Far),
    Part = maps:update_with(flood, fun(Count) -> Count div 5 end, Effort),
    beside(Far, Effort, fun median/1, fun() -> flood_mib(Slow, Part) end);
measure("beside_transfer", [Far], Effort) ->
    Sink = spawn_link(Far, ?MODULE, sink, [0, 0]),
    beside(Far, Effort, fun percentile_99/1, fun() -> send_much(Sink, Effort) end).

%% Does more and more until it is warm, and then as much as fits into the time.
spend(Effort, Round) -> spend(Effort, Round, 32).

spend(#{warm_ms := Warm, long_ms := Long} = Effort, Round, Count) ->
    case Round(Count) of
        Took when Took >= Warm * 1000000 ->
            Fits = max(1, trunc(Count * Long * 1000000 / Took)),
            {Fits, Round(Fits)};
        _ -> spend(Effort, Round, Count * 3)
    end.

rate({Count, Took}) -> Count * 1.0e9 / Took.

micros({Count, Took}) -> Took / 1000 / Count.

took(Fun) ->
    Begin = erlang:monotonic_time(nanosecond),
    Fun(),
    erlang:monotonic_time(nanosecond) - Begin.

percentile_99(List) -> lists:nth(ceil(length(List) * 0.99), lists:sort(List)).

median(List) -> lists:nth((length(List) + 1) div 2, lists:sort(List)).

%% Messages one way.

oneway(Far, Size, Effort) ->
    Sink = spawn_link(Far, ?MODULE, sink, [0, 0]),
    Data = binary:copy(<<7>>, Size),
    rate(spend(Effort, fun(Count) ->
        took(fun() ->
            Check = flood(Sink, Data, 0, Count, 0),
            Sink ! {sum, self()},
            receive {sum, Count, Check} -> ok end
        end)
    end)).

flood(_, _, Count, Count, Check) -> Check;
flood(Sink, Data, Seq, Count, Check) ->
    Sink ! {blob, Seq, Data},
    flood(Sink, Data, Seq + 1, Count, Check + check(Seq, Data)).

sink(Count, Check) ->
    receive
        {blob, Seq, Data} -> sink(Count + 1, Check + check(Seq, Data));
        {sum, From} -> From ! {sum, Count, Check}, sink(0, 0)
    end.

check(Seq, Data) -> Seq bxor binary:first(Data) bxor binary:last(Data) bxor byte_size(Data).

%% Questions and answers.

ask_one(Far, Effort) ->
    Echo = spawn_link(Far, ?MODULE, echo, []),
    Data = binary:copy(<<7>>, 64),
    spend(Effort, fun(Count) ->
        took(fun() ->
            put(micros, [took(fun() -> ask(Echo, Seq, Data) end) / 1000 || Seq <- lists:seq(1, Count)])
        end)
    end),
    median(get(micros)).

askers(Far, Number) ->
    Echo = spawn_link(Far, ?MODULE, echo, []),
    [spawn_link(?MODULE, asker, [self(), Echo]) || _ <- lists:seq(1, Number)].

asker(Teller, Echo) ->
    receive {go, Each} -> ok end,
    Data = binary:copy(<<7>>, 64),
    times(Each, fun(Seq) -> ask(Echo, Seq, Data) end),
    Teller ! {done, self()},
    asker(Teller, Echo).

ask(Echo, Seq, Data) ->
    Ref = make_ref(),
    Echo ! {ask, self(), Ref, Seq, Data},
    receive {Ref, Seq, _} -> ok end.

echo() ->
    receive {ask, From, Ref, Seq, Data} -> From ! {Ref, Seq, Data} end,
    echo().

times(0, _) -> ok;
times(Count, Fun) -> Fun(Count), times(Count - 1, Fun).

%% Several processes that each do as many as they are told, one after the other.
several(Pids, Effort) ->
    Number = length(Pids),
    rate(spend(Effort, fun(Count) ->
        Each = (Count + Number - 1) div Number,
        Took = took(fun() ->
            [Pid ! {go, Each} || Pid <- Pids],
            [receive {done, Pid} -> ok end || Pid <- Pids]
        end),
        Took * Count / (Each * Number)
    end)).

%% Spawns.

spawners(Far, Number) ->
    [spawn_link(?MODULE, spawner, [self(), Far]) || _ <- lists:seq(1, Number)].

spawner(Teller, Far) ->
    receive {go, Each} -> ok end,
    times(Each, fun(Seq) -> spawn(Far, ?MODULE, nothing, [Seq]) end),
    Teller ! {done, self()},
    spawner(Teller, Far).

nothing(_) -> ok.

%% The pool. Its master is the first of the other nodes; this one is a slave as the others are.

pool([Master | _] = Nodes) ->
    ok = erpc:call(Master, ?MODULE, pool_start, [[node() | tl(Nodes)]]),
    ok = global:sync(),
    Master.

pool_start(Slaves) ->
    [] = pool:start(bench), % an empty .hosts.erlang: the slaves are up already
    [attached = pool:attach(Slave) || Slave <- Slaves],
    ok.

callers(Number, Function, Args) ->
    [spawn_link(?MODULE, caller, [self(), Function, Args]) || _ <- lists:seq(1, Number)].

caller(Teller, Function, Args) ->
    receive {go, Each} -> ok end,
    times(Each, fun(_) -> apply(pool, Function, Args) end),
    Teller ! {done, self()},
    caller(Teller, Function, Args).

%% On one node.

local_spawn(Effort) ->
    rate(spend(Effort, fun(Count) ->
        took(fun() ->
            times(Count - 1, fun(Seq) -> spawn(?MODULE, nothing, [Seq]) end),
            spawn(?MODULE, report, [self()]),
            receive up -> ok end
        end)
    end)).

report(To) -> To ! up.

local_oneway(Effort) ->
    Adder = spawn_link(fun() -> adder(0) end),
    rate(spend(Effort, fun(Count) -> took(fun() -> laps(Adder, Count) end) end)).

laps(_, 0) -> ok;
laps(Adder, Left) ->
    Lap = min(Left, 500000),
    times(Lap, fun(Number) -> Adder ! {add, Number} end),
    Adder ! {take, self()},
    Sum = Lap * (Lap + 1) div 2,
    receive {sum, Sum} -> ok end,
    laps(Adder, Left - Lap).

local_ask(Effort) ->
    Adder = spawn_link(fun() -> adder(0) end),
    micros(spend(Effort, fun(Count) ->
        took(fun() ->
            times(Count, fun(Number) ->
                Ref = make_ref(),
                Adder ! {next, self(), Ref, Number},
                receive {Ref, Next} when Next =:= Number + 1 -> ok end
            end)
        end)
    end)).

adder(Sum) ->
    receive
        {add, Number} -> adder(Sum + Number);
        {take, From} -> From ! {sum, Sum}, adder(0);
        {next, From, Ref, Number} -> From ! {Ref, Number + 1}, adder(Sum)
    end.

%% Memory.

idle_bytes(#{idle := Count}) ->
    Before = resident(),
    times(Count, fun(_) -> spawn(?MODULE, idle, []) end),
    Last = spawn(?MODULE, asker, [self(), none]),
    Last ! {go, 0},
    receive {done, Last} -> ok end,
    (resident() - Before) / Count.

idle() -> receive stop -> ok end.

resident() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kib]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

%% The loss of a node.

watch(Node) ->
    Ref = monitor(process, spawn(Node, ?MODULE, idle, [])),
    io:format("kill ~s~n", [erpc:call(Node, os, getpid, [])]),
    receive {'DOWN', Ref, process, _, noconnection} -> ok end,
    io:format("noticed ~w~n", [erlang:system_time(nanosecond)]).

%% Jobs. Each line is that of a job: microseconds that it takes, microseconds after the first at which it
%% comes.

jobs() ->
    {ok, Text} = file:read_file(filename:join(filename:dirname(code:which(?MODULE)), "jobs")),
    Lines = string:lexemes(binary_to_list(Text), "\n"),
    Jobs = [list_to_tuple([list_to_integer(Word) || Word <- string:lexemes(Line, " ")]) || Line <- Lines],
    [Jobs, length(Jobs)].

%% All at once; milliseconds until the last one is done.
flood_of_jobs(Jobs, Number) ->
    A_ms = calibrate(),
    Self = self(),
    took(fun() ->
        [pool:pspawn(?MODULE, job, [Self, trunc(Micros * A_ms / 1000)]) || {Micros, _} <- Jobs],
        times(Number, fun(_) -> receive done -> ok end end)
    end) / 1.0e6.

job(To, Turns) -> spin(Turns, 1), To ! done.

spin(0, Sum) -> Sum;
spin(Turns, Sum) -> spin(Turns - 1, (Sum * 31 + Turns) band 16#ffffff).

%% Turns a millisecond, with all cores at work for a while: the median of some tries.
calibrate() ->
    Self = self(),
    Turns = 20000000,
    Cores = erlang:system_info(schedulers_online),
    median([begin
        [spawn_link(fun() -> Self ! {spun, took(fun() -> spin(Turns, 1) end)} end) || _ <- lists:seq(1, Cores)],
        Turns * 1.0e6 * Cores / lists:sum([receive {spun, Took} -> Took end || _ <- lists:seq(1, Cores)])
    end || _ <- lists:seq(1, 9)]).

%% Each at its time, to be done in the one slot that a node has; the 99th percentile of the milliseconds
%% from its time to its end.
paced_jobs(Jobs, Number) ->
    [spawn(Node, ?MODULE, slot, []) || Node <- pool:get_nodes()],
    timer:sleep(200),
    Self = self(),
    Begin = erlang:monotonic_time(microsecond),
    [begin
        timer:sleep(max(0, (Begin + At - erlang:monotonic_time(microsecond)) div 1000)),
        spawn_link(fun() -> pool:pspawn(?MODULE, slot_job, [Self, Micros, Begin + At]) end)
    end || {Micros, At} <- Jobs],
    Took = [receive {done, Due} -> (Now = erlang:monotonic_time(microsecond)), (Now - Due) / 1000 end
            || _ <- lists:seq(1, Number)],
    percentile_99(Took).

slot_job(To, Micros, Due) ->
    slot ! {self(), Micros},
    receive slept -> To ! {done, Due} end.

slot() ->
    register(slot, self()),
    slot_loop().

slot_loop() ->
    receive {From, Micros} -> timer:sleep(Micros div 1000), From ! slept end,
    slot_loop().

%% Traffic, and what it does to whoever is beside it.

slow(Far) -> spawn_link(Far, ?MODULE, slow, []).

slow() -> slow(0, resident(), 0).

slow(Next, Before, Peak) ->
    receive
        {blob, Next, _} ->
            Begin = erlang:monotonic_time(microsecond),
            Grown = case Next rem 1000 of
                0 -> max(Peak, resident() - Before);
                _ -> Peak
            end,
            busy_until(Begin + 20),
            slow(Next + 1, Before, Grown);
        {peak, From} -> From ! {peak, Peak}, slow(Next, Before, Peak)
    end.

busy_until(End) -> erlang:monotonic_time(microsecond) >= End orelse busy_until(End).

flood_mib(Slow, #{flood := Count}) ->
    Before = resident(),
    Data = binary:copy(<<7>>, 64),
    Here = flood_peak(Slow, Data, 0, Count, Before, 0),
    Slow ! {peak, self()},
    receive {peak, There} -> max(Here, There) / 1048576 end.

flood_peak(_, _, Count, Count, _, Peak) -> Peak;
flood_peak(Slow, Data, Seq, Count, Before, Peak) ->
    Slow ! {blob, Seq, Data},
    Grown = case Seq rem 1000 of
        0 -> max(Peak, resident() - Before);
        _ -> Peak
    end,
    flood_peak(Slow, Data, Seq + 1, Count, Before, Grown).

send_much(Sink, #{transfer := Count}) ->
    Data = binary:copy(<<7>>, 1048576),
    flood(Sink, Data, 0, Count, 0),
    Sink ! {sum, self()},
    receive {sum, Count, _} -> ok end.

beside(Far, #{asks := Count}, Statistic, Traffic) ->
    Echo = spawn_link(Far, ?MODULE, echo, []),
    Data = binary:copy(<<7>>, 64),
    Idle = [micros_of(Echo, Seq, Data) || Seq <- lists:seq(1, Count)],
    {_, Ref} = spawn_monitor(Traffic),
    Beside = until_down(Echo, Data, Ref, []),
    Statistic(Beside) / Statistic(lists:nthtail(Count div 10, Idle)).

until_down(Echo, Data, Ref, Micros) ->
    receive
        {'DOWN', Ref, process, _, normal} -> Micros
    after 0 ->
        until_down(Echo, Data, Ref, [micros_of(Echo, 0, Data) | Micros])
    end.

micros_of(Echo, Seq, Data) -> took(fun() -> ask(Echo, Seq, Data) end) / 1000.
