%% One scenario, from its first step to its outcome. Everything that its processes do is done by real
%% processes on real nodes; this module only tells them when, and waits until everything has come to rest.
-module(otp_scenario).
-export([run/2]).

-record(state, {slot,              % number of the place it runs in; registered names carry it
                nodes,             % index => node
                agents,            % index => agent
                lost = #{},        % index => true
                pids = #{},        % name => pid
                names = #{},       % pid => name
                homes = #{},       % name => index of the node it lives on
                words = #{},       % registered name => atom
                alive = #{},       % name => how it stands
                dead = #{},        % name => {step, reason}
                inbox = #{},       % name => [{step, event}], newest first
                step = 0,
                cut = none,        % the pair of nodes that this step cuts
                round = 0}).

%% The outcome, as JSON. A scenario that does not come to rest ends the caller with the reason.
-spec run(map(), pos_integer()) -> map().
run(#{<<"id">> := Id, <<"nodes">> := Count, <<"steps">> := Steps}, Slot) ->
    %% Nodes that are killed or cut off are this scenario's own.
    Own = lists:usort(lists:append([lossy(Step) || Step <- Steps])),
    Taken = lists:zip(Own, otp_nodes:take(length(Own))),
    Shared = [{Index, otp_nodes:shared(Index)} || Index <- lists:seq(0, Count - 1) -- Own],
    Nodes = maps:from_list(Taken ++ Shared),
    Agents = maps:map(fun(_, Node) -> otp_agent:start(Node, self()) end, Nodes),
    State0 = #state{slot = Slot, nodes = Nodes, agents = Agents},
    %% New nodes meet the others here.
    State1 = case Own of [] -> State0; _ -> full_round(State0) end,
    {Results, State} = steps(Steps, [], State1),
    Outcome = #{id => Id, results => Results, procs => procs(State)},
    clean(State),
    otp_nodes:give_back([Node || {Index, Node} <- Taken, not is_map_key(Index, State#state.lost)]),
    Outcome.

lossy(#{<<"op">> := <<"kill_node">>, <<"node">> := Node}) -> [index(Node)];
lossy(#{<<"op">> := <<"disconnect">>, <<"a">> := A, <<"b">> := B}) -> [index(A), index(B)];
lossy(_) -> [].

clean(State) ->
    Agents = [Agent || {_, Agent} <- living_agents(State)],
    [Agent ! clean || Agent <- Agents],
    [receive {clean, Agent} -> ok after 60000 -> exit({not_cleaned, Agent}) end || Agent <- Agents],
    ok.

steps([], Results, State) -> {lists:reverse(Results), State};
steps([Step | Steps], Results, State) ->
    {Result, New} =
        case is_skipped(Step, State) of
            true -> {skipped, State};
            false -> step(Step, State#state{cut = none})
        end,
    steps(Steps, [Result | Results], New#state{step = New#state.step + 1}).

%% Skipping.

is_skipped(#{<<"op">> := <<"kill_node">>, <<"node">> := Node}, State) -> is_lost(Node, State);
is_skipped(#{<<"op">> := <<"disconnect">>, <<"a">> := A, <<"b">> := B}, State) ->
    is_lost(A, State) orelse is_lost(B, State);
is_skipped(#{<<"by">> := By, <<"op">> := <<"batch">>, <<"ops">> := Ops}, State) ->
    not is_map_key(By, State#state.alive) orelse lists:any(fun(Op) -> names_nobody(Op, State) end, Ops);
is_skipped(#{<<"by">> := By} = Step, State) ->
    not is_map_key(By, State#state.alive) orelse names_nobody(Step, State);
is_skipped(#{<<"op">> := <<"spawn">>}, _) -> false.

names_nobody(Op, State) ->
    Named = [maps:get(Key, Op) || Key <- [<<"to">>, <<"proc">>], is_map_key(Key, Op)],
    lists:any(fun(Name) -> is_binary(Name) andalso not is_map_key(Name, State#state.pids) end, Named).

is_lost(Node, State) -> is_map_key(index(Node), State#state.lost).

%% Carrying out.

step(#{<<"op">> := <<"kill_node">>, <<"node">> := Name}, State) ->
    Index = index(Name),
    Node = maps:get(Index, State#state.nodes),
    ok = otp_nodes:kill(Node),
    Here = [Proc || Proc <- maps:keys(State#state.alive), maps:get(Proc, State#state.homes) =:= Index],
    Gone = maps:from_list([{Proc, {State#state.step, node_killed}} || Proc <- Here]),
    New = State#state{lost = (State#state.lost)#{Index => true},
                      alive = maps:without(Here, State#state.alive),
                      dead = maps:merge(State#state.dead, Gone)},
    Agents = [Agent || {_, Agent} <- living_agents(New)],
    [Agent ! {see_down, Node} || Agent <- Agents],
    [receive {seen_down, Agent} -> ok after 60000 -> exit({not_noticed, Agent}) end || Agent <- Agents],
    {ok, rest(full_round(New))};
step(#{<<"op">> := <<"disconnect">>, <<"a">> := NameA, <<"b">> := NameB}, State) ->
    #state{nodes = Nodes, agents = Agents} = State,
    {A, B} = {index(NameA), index(NameB)},
    #{A := NodeA, B := NodeB} = Nodes,
    #{A := AgentA, B := AgentB} = Agents,
    AgentB ! {see_cut, NodeA},
    receive {watching, AgentB} -> ok end,
    AgentA ! {cut, NodeB},
    [receive {seen_down, Agent} -> ok after 60000 -> exit({not_noticed, Agent}) end || Agent <- [AgentA, AgentB]],
    %% The tokens need the connection again. That it is there is nothing that a process could notice.
    connect(AgentA, NodeB),
    connect(AgentB, NodeA),
    {ok, rest(full_round(State#state{cut = {A, B}}))};
step(#{<<"op">> := <<"spawn">>, <<"as">> := Name, <<"node">> := Where} = Step, State0)
  when not is_map_key(<<"by">>, Step) ->
    Index = index(Where),
    {Trap, Dies} = birth(Step),
    Agent = maps:get(Index, State0#state.agents),
    State = next_round(home(Name, Index, State0)),
    Agent ! {spawn, State#state.round, Name, Trap, Dies},
    {_, New} = reports([Agent], State),
    {ok, rest(New)};
step(#{<<"op">> := <<"spawn">>, <<"by">> := By, <<"as">> := Name, <<"node">> := Where} = Step, State) ->
    Index = index(Where),
    {Trap, Dies} = birth(Step),
    How = case Step of
        #{<<"how">> := <<"link">>} -> link;
        #{<<"how">> := <<"monitor">>, <<"ref">> := Reference} -> {monitor, Reference};
        #{} -> plain
    end,
    #state{nodes = #{Index := Node}, agents = #{Index := Agent}} = State,
    Action = {spawn, Node, How, [Agent, Name, Trap, Dies]},
    case is_map_key(Index, State#state.lost) of
        false ->
            {_, New} = act(By, [Action], {Name, Agent}, home(Name, Index, State)),
            {ok, rest(New)};
        true ->
            Home = maps:get(By, State#state.homes),
            {[Pid], New} = act(By, [Action], lost, home(Name, Home, State)),
            %% It has never lived, and its pid says that it belongs to the spawner's node.
            {Pid, true} = {Pid, node(Pid) =:= maps:get(Home, State#state.nodes)},
            Dead = (New#state.dead)#{Name => {State#state.step, noconnection}},
            {ok, rest((named(Name, Pid, New))#state{dead = Dead})}
    end;
step(#{<<"op">> := <<"batch">>, <<"by">> := By, <<"ops">> := Ops}, State0) ->
    {Actions, State} = lists:mapfoldl(fun action/2, State0, Ops),
    {_, New} = act(By, Actions, none, State),
    {ok, rest(New)};
step(#{<<"by">> := By} = Op, State0) ->
    {Action, State} = action(Op, State0),
    {Results, New} = act(By, [Action], none, State),
    Result = case {element(1, Action), Results} of
        {_, ended} -> ok;
        {whereis, [Pid]} when is_pid(Pid) -> maps:get(Pid, State#state.names);
        {_, [Word]} -> atom_to_binary(Word)
    end,
    {Result, rest(New)}.

connect(Agent, Node) ->
    Agent ! {connect, Node},
    receive
        {connected, Agent, true} -> ok;
        {connected, Agent, false} -> connect(Agent, Node)
    after 60000 -> exit({not_connected, Node})
    end.

birth(Step) ->
    Dies = case Step of
        #{<<"dies">> := #{<<"how">> := <<"return">>}} -> {return, none};
        #{<<"dies">> := #{<<"how">> := How, <<"reason">> := Reason}} ->
            {binary_to_existing_atom(How), reason(Reason)};
        #{} -> none
    end,
    {maps:get(<<"trap">>, Step, false), Dies}.

%% An action as the process gets it: names are pids, atoms and nodes by now.
action(#{<<"op">> := Op} = Step, State) ->
    case {Op, Step} of
        {<<"link">>, #{<<"to">> := To}} -> {{link, pid(To, State)}, State};
        {<<"unlink">>, #{<<"to">> := To}} -> {{unlink, pid(To, State)}, State};
        {<<"monitor">>, #{<<"to">> := To, <<"ref">> := Reference}} ->
            {Target, New} = target(To, State),
            {{monitor, Target, Reference}, New};
        {<<"demonitor">>, #{<<"ref">> := Reference}} -> {{demonitor, Reference}, State};
        {<<"exit">>, #{<<"to">> := To, <<"reason">> := Reason}} ->
            {{exit, pid(To, State), reason(Reason)}, State};
        {<<"die">>, #{<<"how">> := <<"return">>}} -> {{die, return, none}, State};
        {<<"die">>, #{<<"how">> := How, <<"reason">> := Reason}} ->
            {{die, binary_to_existing_atom(How), reason(Reason)}, State};
        {<<"send">>, #{<<"to">> := To, <<"msg">> := Text}} ->
            {Target, New} = target(To, State),
            {{send, Target, Text}, New};
        {<<"trap">>, #{<<"on">> := On}} -> {{trap, On}, State};
        {<<"register">>, #{<<"name">> := Name, <<"proc">> := Proc}} ->
            {Word, New} = word(Name, State),
            {{register, Word, pid(Proc, New)}, New};
        {<<"unregister">>, #{<<"name">> := Name}} ->
            {Word, New} = word(Name, State),
            {{unregister, Word}, New};
        {<<"whereis">>, #{<<"name">> := Name}} ->
            {Word, New} = word(Name, State),
            {{whereis, Word}, New};
        {<<"monitor_node">>, #{<<"node">> := Node, <<"on">> := On}} ->
            {{monitor_node, maps:get(index(Node), State#state.nodes), On}, State}
    end.

target(#{<<"name">> := Name, <<"node">> := Node}, State) ->
    {Word, New} = word(Name, State),
    {{Word, maps:get(index(Node), State#state.nodes)}, New};
target(Name, State) -> {pid(Name, State), State}.

pid(Name, State) -> maps:get(Name, State#state.pids).

%% Scenarios share nodes, so each has names of its own; and atoms are never freed, so they are few.
word(Name, State = #state{words = Words, slot = Slot}) ->
    case Words of
        #{Name := Word} -> {Word, State};
        #{} ->
            Word = list_to_atom(lists:concat(["slot", Slot, "_", map_size(Words)])),
            {Word, State#state{words = Words#{Name => Word}}}
    end.

%% To a receiver only two words have a meaning. The others are binaries, as atoms are never freed.
reason(<<"normal">>) -> normal;
reason(<<"kill">>) -> kill;
reason(Word) -> Word.

index(<<"n", Digits/binary>>) -> binary_to_integer(Digits).

home(Name, Index, State) -> State#state{homes = (State#state.homes)#{Name => Index}}.

named(Name, Pid, State) ->
    State#state{pids = (State#state.pids)#{Name => Pid}, names = (State#state.names)#{Pid => Name}}.

%% Coming to rest.

%% A process acts, and its node's agent sends tokens to all nodes where somebody lives: each of its
%% signals has been handled when the reports are there. What those signals set off shows in the reports.
act(By, Actions, Spawns, State0) ->
    State = next_round(State0),
    Home = maps:get(By, State#state.homes),
    Agent = maps:get(Home, State#state.agents),
    {Lost, Born} = case Spawns of
        none -> {false, none};
        lost -> {true, none};
        {_, _} -> {false, Spawns}
    end,
    Inhabited = [maps:get(maps:get(Name, State#state.homes), State#state.agents)
                 || Name <- maps:keys(State#state.alive)],
    Nursery = case Born of none -> []; {_, Where} -> [Where] end,
    Others = lists:usort(Inhabited ++ Nursery) -- [Agent],
    Agent ! {act, State#state.round, pid(By, State), Actions, Lost, Born, Others},
    reports([Agent | Others], State).

%% Tokens from every node to every other.
full_round(State0) ->
    State = next_round(State0),
    Agents = [Agent || {_, Agent} <- living_agents(State)],
    [Agent ! {round, State#state.round, Agents -- [Agent]} || Agent <- Agents],
    {_, New} = reports(Agents, State),
    New.

next_round(State) -> State#state{round = State#state.round + 1}.

living_agents(State) -> maps:to_list(maps:without(maps:keys(State#state.lost), State#state.agents)).

%% Everybody's report of this round, and what the acting process has answered.
reports(Agents, State) ->
    lists:foldl(fun(Agent, {Results, Before}) ->
        Round = Before#state.round,
        receive
            {report, Round, Agent, Answer, Born, Dead, Living} ->
                After = living(Living, dead(Dead, born(Born, Before))),
                {case Answer of none -> Results; _ -> Answer end, After}
        after 60000 -> exit({no_report, Agent})
        end
    end, {none, State}, Agents).

born(Born, State) ->
    lists:foldl(fun({Name, Pid}, Before) -> named(Name, Pid, Before) end, State, Born).

dead(Dead, State0) ->
    lists:foldl(fun({Pid, Reason}, State) ->
        Name = maps:get(Pid, State#state.names),
        State#state{alive = maps:remove(Name, State#state.alive),
                    dead = (State#state.dead)#{Name => {State#state.step, Reason}}}
    end, State0, Dead).

living(Living, State0) ->
    lists:foldl(fun({Pid, Events, How}, State = #state{inbox = Inbox, step = Step}) ->
        Name = maps:get(Pid, State#state.names),
        Before = maps:get(Name, Inbox, []),
        After = lists:foldl(fun(Event, Seen) -> [{Step, Event} | Seen] end, Before, Events),
        State#state{alive = (State#state.alive)#{Name => How}, inbox = Inbox#{Name => After}}
    end, State0, Living).

%% Asks again and again until nothing is on its way any more.
rest(State) -> rest(State, 0).

rest(State, Tried) ->
    case is_at_rest(State) of
        true -> State;
        %% Under load a node may not get a turn for long.
        false when Tried < 1000 ->
            Tried < 20 orelse timer:sleep(min(Tried, 50)),
            rest(full_round(State), Tried + 1);
        false -> exit({never_at_rest, State#state.step, State#state.alive})
    end.

%% The signals of whoever acted have been handled. What is left to come is what they set off, and that is
%% announced: whoever is yet to hear of an end still has a link or a monitor on the dead; a tie that is
%% not yet known at its other end is on its way; and a lost node owes a nodedown to whoever asked.
is_at_rest(State = #state{alive = Alive, pids = Pids, names = Names, cut = Cut}) ->
    lists:all(fun({Name, {_, _, Links, Monitors, Watchers, Owed}}) ->
        Pid = maps:get(Name, Pids),
        Home = maps:get(Name, State#state.homes),
        Across = fun(Index) -> Cut =:= {Home, Index} orelse Cut =:= {Index, Home} end,
        Apart = fun(Other) -> Across(maps:get(maps:get(Other, Names), State#state.homes)) end,
        IsLinked = fun(Other) ->
            case stands(Other, State) of
                {_, _, Back, _, _, _} -> lists:member(Pid, Back) andalso not Apart(Other);
                dead -> false
            end
        end,
        IsWatched = fun
            ({_, Node}) -> not Across(index_of(Node, State));
            (Other) ->
                case stands(Other, State) of
                    {_, _, _, _, Back, _} ->
                        count(Pid, Back) >= count(Other, Monitors) andalso not Apart(Other);
                    dead -> false
                end
        end,
        IsNobodyOfTheDead = fun(Watcher) ->
            case Names of
                #{Watcher := WatcherName} -> is_map_key(WatcherName, Alive);
                %% An agent.
                #{} -> true
            end
        end,
        Known = lists:sum([count(Pid, Back) || {_, _, _, _, Back, _} <- maps:values(Alive)]),
        IsNothingOwed = fun({Node, Count}) ->
            Index = index_of(Node, State),
            Count =:= 0 orelse not (is_map_key(Index, State#state.lost) orelse Across(Index))
        end,
        lists:all(IsLinked, Links)
            andalso lists:all(IsWatched, Monitors)
            andalso Known =:= length(Monitors)
            andalso lists:all(IsNobodyOfTheDead, Watchers)
            andalso lists:all(IsNothingOwed, maps:to_list(Owed))
    end, maps:to_list(Alive)).

stands(Pid, State) ->
    case State#state.names of
        #{Pid := Name} -> maps:get(Name, State#state.alive, dead);
        #{} -> dead
    end.

count(Item, List) -> length([x || Other <- List, Other =:= Item]).

index_of(Node, State) ->
    [Index] = [I || {I, N} <- maps:to_list(State#state.nodes), N =:= Node],
    Index.

%% The outcome.

procs(State) ->
    maps:from_list([{Name, proc(Name, State)} || Name <- maps:keys(State#state.pids)]).

proc(Name, State) ->
    Node = node_name(maps:get(Name, State#state.homes)),
    case State#state.dead of
        #{Name := {Step, Reason}} ->
            #{node => Node, alive => false, died => Step, reason => word_of(Reason),
              inbox => inbox(Name, Step, State)};
        #{} ->
            #{Name := {Trap, Registered, Links, Monitors, _, _}} = State#state.alive,
            #{node => Node, alive => true, trap => Trap,
              name => case Registered of [] -> null; Word -> registered(Word, State) end,
              links => lists:sort([maps:get(Pid, State#state.names) || Pid <- Links]),
              monitors => lists:sort([object(Object, State) || Object <- Monitors]),
              inbox => inbox(Name, none, State)}
    end.

%% By step, within a step by source, of one source messages and exit signals as they came, then DOWNs by
%% name, then nodedowns. What came in the step of the end is left out.
inbox(Name, Died, State) ->
    Events = lists:reverse(maps:get(Name, State#state.inbox, [])),
    Told = [{Step, event(Event, State)} || {Step, Event} <- Events, Step =/= Died],
    Numbered = lists:zip(lists:seq(1, length(Told)), Told),
    Keyed = lists:sort([{{Step, Source, Rank, case Rank of 0 -> At; _ -> Order end}, At, [Step | Event]}
                        || {At, {Step, {Source, Rank, Order, Event}}} <- Numbered]),
    [Event || {_, _, Event} <- Keyed].

event({msg, From, Text}, State) ->
    Source = maps:get(From, State#state.names),
    {Source, 0, none, [msg, Source, Text]};
event({exit, From, Reason}, State) ->
    Source = maps:get(From, State#state.names),
    {Source, 0, none, ['EXIT', Source, word_of(Reason)]};
event({down, Reference, Object, Reason}, State) ->
    Source = object(Object, State),
    {Source, 1, Reference, ['DOWN', Reference, Source, word_of(Reason)]};
event({nodedown, Node}, State) ->
    Source = node_name(index_of(Node, State)),
    {Source, 2, none, [nodedown, Source]}.

object({Word, Node}, State) ->
    <<(registered(Word, State))/binary, $@, (node_name(index_of(Node, State)))/binary>>;
object(Pid, State) -> maps:get(Pid, State#state.names).

registered(Word, State) ->
    [Name] = [N || {N, W} <- maps:to_list(State#state.words), W =:= Word],
    Name.

node_name(Index) -> <<"n", (integer_to_binary(Index))/binary>>.

%% A reason in one word.
word_of({{nocatch, Reason}, Stack}) when is_list(Stack) -> <<"nocatch:", (word_of(Reason))/binary>>;
word_of({Reason, Stack}) when is_list(Stack) -> <<"error:", (word_of(Reason))/binary>>;
word_of(Reason) when is_atom(Reason) -> atom_to_binary(Reason);
word_of(Reason) when is_binary(Reason) -> Reason.
