%% One node's part in one scenario: an agent passes orders to the processes of its node, and tells the
%% scenario how they stand. Agents send each other tokens over the connections that the signals take, so
%% that what was sent before a token has come when the token comes.
%%
%% A batch has one outcome if it makes no difference when the others get to handle what is sent to them.
%% The environment variable OTP_PACE shows the two extremes: with "slow" the acting process waits after each
%% action until it has had its effect, with "late" nobody else runs before the batch is over. The outcomes
%% must be those that they are without it.
-module(otp_agent).
-export([start/2]).

-record(state, {scenario,
                alive = #{},       % pid => {name, how it was born to die}
                born = [],         % {name, pid}, since the last report
                dead = []}).       % {pid, reason}, since the last report

-spec start(node(), pid()) -> pid().
start(Node, Scenario) ->
    spawn(Node, fun() ->
        monitor(process, Scenario),
        loop(#state{scenario = Scenario})
    end).

loop(State = #state{scenario = Scenario}) ->
    receive
        %% The driver's spawn.
        {spawn, Round, Name, Trap, Dies} ->
            spawn(otp_actor, born, [self(), Name, Trap, Dies]),
            loop(report(Round, none, wait_born(Name, State)));
        %% A process acts; then everything it has sent is followed by a token.
        {act, Round, Pid, Actions, Lost, Born, Others} ->
            Held = hold_all(Pid, Actions, Others, State),
            Pid ! {do, self(), Actions},
            {Results, State1} = wait_done(Pid, Lost, State),
            [Agent ! {token, Round, born_at(Agent, Born)} || Agent <- Others],
            release(Held),
            loop(report(Round, Results, wait_born(born_at(self(), Born), State1)));
        {token, Round, Born} -> loop(report(Round, none, wait_born(Born, State)));
        {hold, Agent} ->
            Held = hold(maps:keys(State#state.alive)),
            Agent ! {held, self()},
            receive {token, Round, Born} ->
                release(Held),
                loop(report(Round, none, wait_born(Born, State)))
            end;
        %% Everybody's token to everybody.
        {round, Round, Others} -> loop(round(Round, Others, State));
        {'DOWN', _, process, Scenario, _} -> clean(State);
        {'DOWN', _, process, Pid, Reason} -> loop(died(Pid, Reason, State));
        {born, Name, Pid, Dies} -> loop(was_born(Name, Pid, Dies, State));
        {see_down, Node} ->
            monitor_node(Node, true),
            receive {nodedown, Node} -> Scenario ! {seen_down, self()} end,
            loop(State);
        {see_cut, Node} ->
            monitor_node(Node, true),
            Scenario ! {watching, self()},
            receive {nodedown, Node} -> Scenario ! {seen_down, self()} end,
            loop(State);
        {cut, Node} ->
            monitor_node(Node, true),
            erlang:disconnect_node(Node),
            receive {nodedown, Node} -> Scenario ! {seen_down, self()} end,
            loop(State);
        {connect, Node} ->
            Scenario ! {connected, self(), net_kernel:connect_node(Node)},
            loop(State);
        clean ->
            clean(State),
            Scenario ! {clean, self()}
    end.

%% Before a batch, if that is asked for: nobody but the acting process runs, here and elsewhere.
hold_all(Pid, [_, _ | _], Others, State) ->
    case os:getenv("OTP_PACE") of
        "late" ->
            [Agent ! {hold, self()} || Agent <- Others],
            [receive {held, Agent} -> ok end || Agent <- Others],
            hold(maps:keys(State#state.alive) -- [Pid]);
        _ -> []
    end;
hold_all(_, _, _, _) -> [].

hold(Pids) ->
    [true = erlang:suspend_process(Pid) || Pid <- Pids],
    Pids.

%% In any order, and each some time after the one before.
release(Held) ->
    Shuffled = [Pid || {_, Pid} <- lists:sort([{rand:uniform(), Pid} || Pid <- Held])],
    [begin
        try erlang:resume_process(Pid) catch error:badarg -> is_dead end,
        timer:sleep(rand:uniform(2) - 1)
     end || Pid <- Shuffled],
    ok.

born_at(Agent, {Name, Agent}) -> Name;
born_at(_, _) -> none.

%% The answer of the process that acts, or its end. If it has ended while it spawned on a lost node,
%% nobody knows the child, dead from the start: any dead process of this node is as good.
wait_done(Pid, Lost, State) ->
    receive
        {done, Pid, Results} -> {Results, State};
        {'DOWN', _, process, Pid, Reason} when Lost ->
            {Child, Monitor} = spawn_monitor(fun() -> exit(noconnection) end),
            receive {'DOWN', Monitor, process, Child, noconnection} -> ok end,
            {[Child], died(Pid, Reason, State)};
        {'DOWN', _, process, Pid, Reason} -> {ended, died(Pid, Reason, State)}
    end.

wait_born(none, State) -> State;
wait_born(Name, State) ->
    case lists:keymember(Name, 1, State#state.born) of
        true -> State;
        false ->
            receive
                {born, Name, Pid, Dies} -> was_born(Name, Pid, Dies, State);
                {'DOWN', _, process, Scenario, _} when Scenario =:= State#state.scenario ->
                    clean(State),
                    exit(normal)
            end
    end.

was_born(Name, Pid, Dies, State = #state{alive = Alive, born = Born}) ->
    monitor(process, Pid),
    State#state{alive = Alive#{Pid => {Name, Dies}}, born = [{Name, Pid} | Born]}.

died(Pid, Reason, State = #state{alive = Alive, dead = Dead}) ->
    {{_, Dies}, Left} = maps:take(Pid, Alive),
    State#state{alive = Left, dead = [{Pid, reason(Reason, Dies)} | Dead]}.

%% A process that was born to die may be gone before it could be watched; then its own word stands.
reason(noproc, {return, _}) -> normal;
reason(noproc, {exit, Reason}) -> Reason;
reason(noproc, {error, Reason}) -> {Reason, []};
reason(noproc, {throw, Reason}) -> {{nocatch, Reason}, []};
reason(Reason, _) -> Reason.

round(Round, Others, State) ->
    [Agent ! {from, Round, self()} || Agent <- Others],
    wait_tokens(Round, Others, State).

wait_tokens(Round, [], State) -> report(Round, none, State);
wait_tokens(Round, [Agent | Others], State = #state{scenario = Scenario}) ->
    receive
        {from, Round, Agent} -> wait_tokens(Round, Others, State);
        {'DOWN', _, process, Scenario, _} -> clean(State), exit(normal)
    end.

%% Tells the scenario what has happened since the last report, and how each living process stands.
report(Round, Results, State = #state{scenario = Scenario, alive = Alive}) ->
    Pids = maps:keys(Alive),
    [Pid ! {ping, self(), Round} || Pid <- Pids],
    {Living, New} = pongs(Round, Pids, [], State),
    Scenario ! {report, Round, self(), Results, New#state.born, New#state.dead, Living},
    New#state{born = [], dead = []}.

pongs(_, [], Living, State) -> {Living, State};
pongs(Round, [Pid | Pids], Living, State) ->
    receive
        {pong, Round, Pid, Events, How} -> pongs(Round, Pids, [{Pid, Events, How} | Living], State);
        {'DOWN', _, process, Pid, Reason} -> pongs(Round, Pids, Living, died(Pid, Reason, State))
    end.

%% Leaves nothing behind: no process, and so no name.
clean(#state{alive = Alive}) ->
    Pids = maps:keys(Alive),
    [exit(Pid, kill) || Pid <- Pids],
    [receive {'DOWN', _, process, Pid, _} -> ok end || Pid <- Pids],
    ok.
