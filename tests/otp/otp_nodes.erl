%% The nodes, each an OS process of its own. The one that calls is n0. Some are shared by all scenarios;
%% one that is to be killed or cut off is a scenario's own. All of them end with n0, however it ends.
-module(otp_nodes).
-export([start/0, stop/0, shared/1, take/1, give_back/1, kill/1]).
-export([node_main/1]).

-record(state, {shared = #{},      % number => node
                spare = [],        % nodes that are ready and nobody's
                starting = #{},    % port => {what for, name}
                up = #{},          % node => {port, OS process}
                waiting = [],      % requests, oldest first
                wanted = 0,        % how many spare nodes to have ready
                next = 1}).

-spec start() -> ok.
start() ->
    Parent = self(),
    Pid = spawn_link(fun() ->
        register(?MODULE, self()),
        Parent ! {self(), ready},
        loop(#state{})
    end),
    receive {Pid, ready} -> ok end.

%% Ends all of them, also those that are not up yet, and waits for it.
-spec stop() -> ok.
stop() -> call(stop).

%% The node that is shared under this number, 0 being this one.
-spec shared(non_neg_integer()) -> node().
shared(0) -> node();
shared(Number) -> call({shared, Number}).

%% This many nodes for the caller alone.
-spec take(non_neg_integer()) -> [node()].
take(0) -> [];
take(Count) -> call({take, Count}).

%% Nodes that were taken and are alive, with nothing left on them.
-spec give_back([node()]) -> ok.
give_back(Nodes) ->
    ?MODULE ! {give_back, Nodes},
    ok.

%% SIGKILL.
-spec kill(node()) -> ok.
kill(Node) -> call({kill, Node}).

call(Request) ->
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! {{self(), Monitor}, Request},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, _, Reason} -> exit(Reason)
    end.

loop(State) ->
    receive
        {{Pid, Monitor}, {kill, Node}} ->
            {value, {Port, OsPid}} = {value, maps:get(Node, State#state.up)},
            otp_names:forget(Node),
            [] = os:cmd("kill -KILL " ++ OsPid),
            Pid ! {Monitor, ok},
            Up = maps:remove(Node, State#state.up),
            receive {Port, {exit_status, _}} -> ok end,
            loop(fill(State#state{up = Up}));
        {{Pid, Monitor}, stop} ->
            Up = [Port || {Port, _} <- maps:values(State#state.up)],
            Ports = Up ++ maps:keys(State#state.starting),
            OsPids = [integer_to_list(OsPid) || Port <- Ports,
                                                {os_pid, OsPid} <- [erlang:port_info(Port, os_pid)]],
            OsPids =:= [] orelse os:cmd(["kill -KILL ", lists:join($\s, OsPids)]),
            [receive {Port, {exit_status, _}} -> ok end || Port <- Ports],
            Pid ! {Monitor, ok};
        {{_, _}, {_, _}} = Request ->
            loop(serve(State#state{waiting = State#state.waiting ++ [Request]}));
        {give_back, Nodes} ->
            loop(serve(State#state{spare = State#state.spare ++ Nodes}));
        {up, Node, OsPid} ->
            {Port, What} = by_name(Node, State),
            New = State#state{up = (State#state.up)#{Node => {Port, OsPid}},
                              starting = maps:remove(Port, State#state.starting)},
            loop(serve(case What of
                {shared, Number} -> New#state{shared = (State#state.shared)#{Number => Node}};
                spare -> New#state{spare = State#state.spare ++ [Node]}
            end));
        {Port, {data, Said}} when is_port(Port) ->
            io:put_chars(standard_error, Said),
            loop(State);
        {Port, {exit_status, Status}} ->
            exit({node_ended_by_itself, Port, Status})
    end.

%% Answers the requests that can be answered, and starts what is missing.
serve(State = #state{waiting = Waiting}) ->
    {Left, New} = lists:foldl(fun serve/2, {[], State}, Waiting),
    fill(New#state{waiting = lists:reverse(Left)}).

serve({{Pid, Monitor}, {shared, Number}} = Request, {Left, State}) ->
    case State#state.shared of
        #{Number := Node} -> Pid ! {Monitor, Node}, {Left, State};
        #{} ->
            What = {shared, Number},
            case [x || {W, _} <- maps:values(State#state.starting), W =:= What] of
                [] -> {[Request | Left], start_node(What, State)};
                [x] -> {[Request | Left], State}
            end
    end;
serve({{Pid, Monitor}, {take, Count}} = Request, {Left, State}) ->
    State1 = State#state{wanted = max(State#state.wanted, Count + 2)},
    %% Who came first is served first, or a request for many would never be.
    Behind = [x || {_, {take, _}} <- Left],
    case State1#state.spare of
        Spare when Behind =:= [], length(Spare) >= Count ->
            {Taken, Rest} = lists:split(Count, Spare),
            Pid ! {Monitor, Taken},
            {Left, State1#state{spare = Rest}};
        _ -> {[Request | Left], State1}
    end.

fill(State) ->
    Coming = length([x || {spare, _} <- maps:values(State#state.starting)]),
    case length(State#state.spare) + Coming < State#state.wanted andalso Coming < 3 of
        true -> fill(start_node(spare, State));
        false -> State
    end.

start_node(What, State = #state{next = Next}) ->
    Name = "s" ++ integer_to_list(Next) ++ "@127.0.0.1",
    %% What the script erl runs in the end, with the environment that it has made for this node.
    Erl = filename:join(os:getenv("BINDIR"), "erlexec"),
    Home = filename:dirname(code:which(?MODULE)),
    Args = ["-args_file", filename:join(Home, "erl.args"), "-pa", Home, "-name", Name,
            "-s", ?MODULE_STRING, "node_main", atom_to_list(node())],
    %% Its standard error is this one's: who has the other end knows when the last of us is gone.
    Port = open_port({spawn_executable, Erl}, [{args, Args}, exit_status, binary]),
    Starting = (State#state.starting)#{Port => {What, list_to_atom(Name)}},
    State#state{starting = Starting, next = Next + 1}.

by_name(Node, State) ->
    [Found] = [{Port, What} || {Port, {What, Name}} <- maps:to_list(State#state.starting), Name =:= Node],
    Found.

%% What a node does by itself: it says that it is there, and ends as soon as n0 is lost.
node_main([Master]) ->
    true = net_kernel:connect_node(Master),
    true = monitor_node(Master, true),
    {?MODULE, Master} ! {up, node(), os:getpid()},
    receive {nodedown, Master} -> erlang:halt(0, [{flush, false}]) end.
