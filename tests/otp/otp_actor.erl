%% A process of a scenario: it records what reaches it, and acts when it is told to. Nothing in it catches
%% anything or does anything of its own will, so that its links, monitors and end are real Erlang's.
-module(otp_actor).
-export([born/4]).

-record(state, {events = [],       % what came since the last ping, newest first
                by_name = #{},     % monitor's name => reference
                names = #{},       % reference => monitor's name
                owed = #{}}).      % node => how many nodedowns were asked for

%% A process's first and only function. Its agent hears of it before it can be gone.
born(Agent, Name, Trap, Dies) ->
    process_flag(trap_exit, Trap),
    Agent ! {born, Name, self(), Dies},
    case Dies of
        none -> loop(#state{});
        {How, Reason} -> die(How, Reason)
    end.

loop(State) ->
    receive
        {do, Agent, Actions} ->
            case act(Actions, [], State) of
                {Results, New} ->
                    Agent ! {done, self(), Results},
                    loop(New);
                return -> return
            end;
        {ping, Agent, Round} -> loop(answer(Agent, Round, State));
        Event -> loop(record(Event, State))
    end.

%% Reads what there is, and says how things stand at a moment when nothing was left unread.
answer(Agent, Round0, State0) ->
    {Round, State} = drain(Round0, State0),
    Info = process_info(self(), [message_queue_len, links, monitors, monitored_by, registered_name]),
    case Info of
        [{message_queue_len, 0}, {links, Links}, {monitors, Monitors}, {monitored_by, Watchers}, {_, Name}] ->
            {trap_exit, Trap} = process_info(self(), trap_exit),
            Watched = [Object || {process, Object} <- Monitors],
            Agent ! {pong, Round, self(), lists:reverse(State#state.events),
                     {Trap, Name, Links, Watched, Watchers, State#state.owed}},
            State#state{events = []};
        _ -> answer(Agent, Round, State)
    end.

drain(Round, State) ->
    receive
        {ping, _, Later} -> drain(Later, State);
        Event -> drain(Round, record(Event, State))
    after 0 -> {Round, State}
    end.

record({msg, From, Text}, State) -> add({msg, From, Text}, State);
record({'EXIT', From, Reason}, State) -> add({exit, From, Reason}, State);
record({'DOWN', Reference, process, Object, Reason}, State) ->
    add({down, maps:get(Reference, State#state.names), Object, Reason}, State);
record({nodedown, Node}, State = #state{owed = Owed}) ->
    add({nodedown, Node}, State#state{owed = Owed#{Node => max(0, maps:get(Node, Owed) - 1)}}).

add(Event, State = #state{events = Events}) -> State#state{events = [Event | Events]}.

act([], Results, State) -> {lists:reverse(Results), State};
act([{die, return, _} | _], _, _) -> return;
act([Action | Rest], Results, State) ->
    {Result, New} = act(Action, State),
    %% See otp_agent for what this shows.
    (Rest =/= [] andalso os:getenv("OTP_PACE") =:= "slow") andalso timer:sleep(2),
    act(Rest, [Result | Results], New).

act({spawn, Node, How, Args}, State) ->
    case How of
        plain -> {spawn(Node, ?MODULE, born, Args), State};
        link -> {spawn_link(Node, ?MODULE, born, Args), State};
        {monitor, Name} ->
            {Pid, Reference} = spawn_monitor(Node, ?MODULE, born, Args),
            {Pid, watching(Name, Reference, State)}
    end;
act({link, To}, State) ->
    try link(To) of true -> {ok, State}
    catch
        %% Local and dead, and no trap: here an error, elsewhere an exit signal with the same word.
        error:noproc -> exit(noproc)
    end;
act({unlink, To}, State) ->
    true = unlink(To),
    {ok, State};
act({monitor, To, Name}, State) ->
    {ok, watching(Name, monitor(process, To), State)};
act({demonitor, Name}, State) ->
    case State#state.by_name of
        #{Name := Reference} -> true = demonitor(Reference);
        #{} -> never_was
    end,
    {ok, State};
act({exit, To, Reason}, State) ->
    true = exit(To, Reason),
    {ok, State};
act({die, How, Reason}, _) -> die(How, Reason);
act({send, To, Text}, State) ->
    %% A free name of one's own node is no badarg in the form {Name, Node}.
    To ! {msg, self(), Text},
    {ok, State};
act({trap, On}, State) -> {process_flag(trap_exit, On), State};
act({register, Name, Pid}, State) ->
    try register(Name, Pid) of true -> {ok, State}
    catch error:badarg -> {badarg, State}
    end;
act({unregister, Name}, State) ->
    try unregister(Name) of true -> {ok, State}
    catch error:badarg -> {badarg, State}
    end;
act({whereis, Name}, State) -> {whereis(Name), State};
act({monitor_node, Node, On}, State = #state{owed = Owed}) ->
    true = monitor_node(Node, On),
    Before = maps:get(Node, Owed, 0),
    After = case On of true -> Before + 1; false -> max(0, Before - 1) end,
    {ok, State#state{owed = Owed#{Node => After}}}.

watching(Name, Reference, State) ->
    State#state{by_name = (State#state.by_name)#{Name => Reference},
                names = (State#state.names)#{Reference => Name}}.

die(exit, Reason) -> exit(Reason);
die(error, Reason) -> error(Reason);
die(throw, Reason) -> throw(Reason);
die(return, _) -> return.
