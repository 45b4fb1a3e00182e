%% One supervisor trace on the real supervisor.
-module(otp_trace).
-export([run/1]).
-export([init/1, start_child/3, child/3]).

-record(state, {sup,               % pid, or none when it has ended
                fails,             % table: child's id => how many starts are to fail
                children = []}).   % {id, pid or undefined}, in start order

%% The outcome, as JSON. The caller must be a process for this alone.
-spec run(map()) -> map().
run(#{<<"id">> := Id, <<"strategy">> := Strategy, <<"intensity">> := Intensity,
      <<"children">> := Children, <<"ops">> := Ops}) ->
    process_flag(trap_exit, true),
    Fails = ets:new(fails, [public]),
    [set_fail(Child, Fails) || Child <- Children],
    Flags = #{strategy => binary_to_existing_atom(Strategy), intensity => Intensity, period => 1000000},
    Specs = [spec(Child, Fails) || Child <- Children],
    {First, State} =
        case supervisor:start_link(?MODULE, {Flags, Specs}) of
            {ok, Sup} -> ended_or_settled(ok, #state{sup = Sup, fails = Fails});
            {error, {shutdown, {failed_to_start_child, Failed, _}}} ->
                Result = <<"failed:", Failed/binary>>,
                {step(Result, [], none), #state{sup = none, fails = Fails}}
        end,
    {Steps, Last} = lists:mapfoldl(fun op/2, State, Ops),
    finish(Last),
    ets:delete(Fails),
    #{id => Id, steps => [First | Steps]}.

finish(#state{sup = none}) -> ok;
finish(#state{sup = Sup}) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, _} -> ok end.

%% Each op gives a step of the outcome.
op(_, State = #state{sup = none}) -> {step(skipped, [], none), State};
op([<<"die">>, Id, Reason], State) ->
    case lists:keyfind(Id, 1, State#state.children) of
        {Id, Pid} when is_pid(Pid) ->
            Monitor = monitor(process, Pid),
            case Reason of
                <<"killed">> -> exit(Pid, kill);
                _ -> Pid ! {die, reason(Reason)}
            end,
            receive {'DOWN', Monitor, process, Pid, _} -> ok after 60000 -> exit({not_died, Id}) end,
            heard_of(Pid, State#state.sup),
            ended_or_settled(ok, State);
        _ -> {step(skipped, State#state.children, alive), State}
    end;
op([<<"fail">>, Id, Count], State) ->
    ets:insert(State#state.fails, {Id, Count}),
    {step(ok, State#state.children, alive), State};
op([<<"terminate">>, Id], State) -> ask(fun supervisor:terminate_child/2, Id, State);
op([<<"restart">>, Id], State) -> ask(fun supervisor:restart_child/2, Id, State);
op([<<"delete">>, Id], State) -> ask(fun supervisor:delete_child/2, Id, State);
op([<<"start">>, Child], State = #state{fails = Fails}) ->
    set_fail(Child, Fails),
    ask(fun supervisor:start_child/2, spec(Child, Fails), State);
op([<<"stop">>, Reason], State = #state{sup = Sup}) ->
    exit(Sup, reason(Reason)),
    receive {'EXIT', Sup, Why} -> {step(ok, [], word_of(Why)), State#state{sup = none, children = []}}
    after 60000 -> exit({not_stopped, Sup})
    end.

ask(Function, Argument, State) ->
    Word = case Function(State#state.sup, Argument) of
        ok -> ok;
        {ok, _} -> ok;
        %% Of a start by hand: with the child's specification.
        {error, {not_yet, _}} -> not_yet;
        {error, {already_started, _}} -> already_started;
        {error, What} when is_atom(What) -> What
    end,
    ended_or_settled(Word, State).

%% Waits until the supervisor has the child's exit signal behind it, so that its mailbox has the message.
heard_of(Pid, Sup) ->
    case process_info(Sup, links) of
        {links, Links} ->
            case lists:member(Pid, Links) of
                true -> erlang:yield(), heard_of(Pid, Sup);
                false -> ok
            end;
        undefined -> ok
    end.

%% Waits until the supervisor has nothing to do any more, or is gone.
ended_or_settled(Result, State = #state{sup = Sup}) ->
    try supervisor:which_children(Sup) of
        YoungestFirst ->
            Children = [{Id, Pid} || {Id, Pid, _, _} <- lists:reverse(YoungestFirst)],
            IsAtRest = not lists:keymember(restarting, 2, Children)
                andalso process_info(Sup, message_queue_len) =:= {message_queue_len, 0},
            case IsAtRest of
                true -> {step(Result, Children, alive), State#state{children = Children}};
                false -> ended_or_settled(Result, State)
            end
    catch
        exit:_ ->
            receive {'EXIT', Sup, Why} -> {step(Result, [], word_of(Why)), State#state{sup = none, children = []}}
            after 60000 -> exit({not_ended, Sup})
            end
    end.

step(Result, Children, Sup) ->
    #{result => Result, sup => Sup, log => log(),
      children => [[Id, case is_pid(Pid) of true -> up; false -> down end] || {Id, Pid} <- Children]}.

%% What the children have reported since last asked. They report before the supervisor goes on, so the
%% order is that of the events.
log() ->
    receive {log, Entry} -> [Entry | log()]
    after 0 -> []
    end.

set_fail(#{<<"id">> := Id, <<"fail">> := Count}, Fails) -> ets:insert(Fails, {Id, Count});
set_fail(#{}, _) -> true.

%% The supervisor's side.

init(Init) -> {ok, Init}.

spec(#{<<"id">> := Id, <<"restart">> := Restart, <<"shutdown">> := Shutdown}, Fails) ->
    #{id => Id,
      start => {?MODULE, start_child, [self(), Id, Fails]},
      restart => binary_to_existing_atom(Restart),
      shutdown => case is_binary(Shutdown) of true -> binary_to_existing_atom(Shutdown); false -> Shutdown end}.

start_child(Tracer, Id, Fails) ->
    case ets:lookup(Fails, Id) of
        [{Id, Count}] when Count > 0 ->
            ets:insert(Fails, {Id, Count - 1}),
            Tracer ! {log, [fail, Id]},
            {error, not_yet};
        _ -> proc_lib:start_link(?MODULE, child, [self(), Tracer, Id])
    end.

child(Sup, Tracer, Id) ->
    process_flag(trap_exit, true),
    Tracer ! {log, [start, Id]},
    proc_lib:init_ack({ok, self()}),
    receive
        {die, Reason} -> exit(Reason);
        {'EXIT', Sup, Reason} ->
            Tracer ! {log, [stop, Id, word_of(Reason)]},
            exit(Reason)
    end.

reason(<<"normal">>) -> normal;
reason(<<"shutdown">>) -> shutdown;
reason(<<"killed">>) -> killed;
reason(<<"shutdown:", Why/binary>>) -> {shutdown, Why};
reason(Word) -> Word.

word_of({shutdown, Why}) -> <<"shutdown:", (word_of(Why))/binary>>;
word_of(Word) when is_atom(Word) -> atom_to_binary(Word);
word_of(Word) when is_binary(Word) -> Word.
