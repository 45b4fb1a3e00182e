%% The nodes' phone book, in the place of epmd: a file a node, with its port, in the directory of these
%% modules. So no epmd is started, none of the user's is disturbed, and no two runs meet.
-module(otp_names).
-export([start_link/0, register_node/2, register_node/3, address_please/3, port_please/2, port_please/3,
         listen_port_please/2, names/1, forget/1]).

%% net_kernel's supervisor wants a process; this one has nothing to do.
start_link() ->
    {ok, spawn_link(fun() -> receive stop -> ok end end)}.

register_node(Name, Port) -> register_node(Name, Port, inet).

register_node(Name, Port, _Family) ->
    File = file(Name),
    %% Under another name first: who looks it up finds the whole port or nothing.
    ok = prim_file:write_file(File ++ ".new", integer_to_binary(Port)),
    ok = prim_file:rename(File ++ ".new", File),
    {ok, 1 + erlang:phash2({os:getpid(), erlang:system_time()}, 16#7ffffff)}.

address_please(Name, Host, Family) ->
    case port_please(Name, Host) of
        {port, Port, Version} ->
            {ok, Address} = inet:getaddr(Host, Family),
            {ok, Address, Port, Version};
        noport -> {error, noport}
    end.

port_please(Name, Host, _Timeout) -> port_please(Name, Host).

port_please(Name, _Host) ->
    case prim_file:read_file(file(Name)) of
        {ok, Port} -> {port, binary_to_integer(Port), 6};
        {error, _} -> noport
    end.

listen_port_please(_Name, _Host) -> {ok, 0}.

names(_Host) -> {error, address}.

%% For a node that has been killed.
forget(Node) ->
    [Name, _Host] = string:split(atom_to_list(Node), "@"),
    _ = prim_file:delete(file(Name)),
    ok.

file(Name) when is_atom(Name) -> file(atom_to_list(Name));
file(Name) -> filename:join(filename:dirname(code:which(?MODULE)), Name ++ ".port").
