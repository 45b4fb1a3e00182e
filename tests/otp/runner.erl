%% The reference: reads scenarios and supervisor traces, carries them out on real Erlang nodes, and prints
%% an outcome for each, one a line, in their order. Several run at the same time.
%%
%%   erl -noinput ... -s runner main -extra FILE     (run-otp.sh has the rest; - is standard input)
-module(runner).
-export([main/0]).

-record(state, {io,                % the port of standard input and output
                idle = [],         % slots that are free
                queue = queue:new(), % {number, document} that wait for one
                running = #{},     % monitor => {slot, number, document}
                done = #{},        % number => line, of those that are not yet printed
                next_in = 0, next_out = 0,
                is_over = false}). % no more input

-spec main() -> no_return().
main() ->
    process_flag(trap_exit, true),
    logger:set_primary_config(level, none),
    otp_nodes:start(),
    [File] = init:get_plain_arguments(),
    State = #state{idle = lists:seq(1, slots())},
    case File of
        "-" -> loop(start, State#state{io = open_port({fd, 0, 1}, [binary, eof, stream])});
        _ ->
            Port = open_port({fd, 0, 1}, [binary, out]),
            case file:read_file(File) of
                {ok, Text} ->
                    {Documents, _} = otp_json:split(Text, start),
                    loop(start, queue(Documents, State#state{io = Port, is_over = true}));
                {error, Why} ->
                    stop(io_lib:format("~ts: ~ts", [File, file:format_error(Why)]))
            end
    end.

%% How many run at the same time.
slots() ->
    case os:getenv("OTP_SLOTS") of
        false -> 8;
        Number -> list_to_integer(Number)
    end.

loop(Input, State0) ->
    State = print(serve(State0)),
    #state{io = Io, is_over = IsOver, next_in = In, next_out = Out} = State,
    (IsOver andalso In =:= Out) andalso stop(),
    receive
        {Io, {data, More}} ->
            {Documents, Rest} = otp_json:split(More, Input),
            loop(Rest, queue(Documents, State));
        {Io, eof} -> loop(Input, State#state{is_over = true});
        {'DOWN', Monitor, process, _, Reason} -> loop(Input, ended(Monitor, Reason, State));
        %% Nobody reads on, or the nodes are gone: those are linked.
        {'EXIT', _, normal} -> loop(Input, State);
        {'EXIT', Io, Reason} -> stop(io_lib:format("standard output: ~0tp", [Reason]));
        {'EXIT', _, Reason} -> stop(io_lib:format("~0tp", [Reason]))
    end.

stop() ->
    otp_nodes:stop(),
    erlang:halt(0).

stop(Why) ->
    io:put_chars(standard_error, [Why, $\n]),
    catch otp_nodes:stop(),
    erlang:halt(1).

queue(Documents, State) ->
    lists:foldl(fun(Document, Before = #state{queue = Queue, next_in = In}) ->
        Before#state{queue = queue:in({In, Document}, Queue), next_in = In + 1}
    end, State, Documents).

serve(State = #state{idle = [Slot | Idle], queue = Queue, running = Running}) ->
    case queue:out(Queue) of
        {empty, _} -> State;
        {{value, {Number, Text}}, Rest} ->
            {_, Monitor} = spawn_monitor(fun() -> exit({outcome, run(Text, Slot)}) end),
            serve(State#state{idle = Idle, queue = Rest, running = Running#{Monitor => {Slot, Number, Text}}})
    end;
serve(State = #state{idle = []}) -> State.

run(Text, Slot) ->
    case otp_json:decode(Text) of
        #{<<"strategy">> := _} = Trace -> otp_trace:run(Trace);
        Scenario -> otp_scenario:run(Scenario, Slot)
    end.

ended(Monitor, Reason, State = #state{idle = Idle, running = Running, done = Done}) ->
    {{Slot, Number, Text}, Left} = maps:take(Monitor, Running),
    Line = case Reason of
        {outcome, Outcome} -> otp_json:encode(Outcome);
        %% In its place, so that the lines stay those of the input.
        _ ->
            Id = try maps:get(<<"id">>, otp_json:decode(Text)) catch error:_ -> null end,
            Why = unicode:characters_to_binary(io_lib:format("~0tp", [Reason])),
            otp_json:encode(#{id => Id, error => Why})
    end,
    State#state{idle = [Slot | Idle], running = Left, done = Done#{Number => Line}}.

print(State = #state{io = Io, done = Done, next_out = Out}) ->
    case maps:take(Out, Done) of
        {Line, Left} ->
            port_command(Io, [Line, $\n]),
            print(State#state{done = Left, next_out = Out + 1});
        error -> State
    end.
