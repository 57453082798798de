# shellcheck shell=bash
# Two network namespaces joined by a veth pair, under names of this run alone.
# Sourced after common.sh.
#
# The server's side is $server_ns with $server_ip, the client's $client_ns with
# $client_ip; in each the interface is called eth0. Nothing is made in the
# namespace that the script runs in.

server_ns=tpa-$$-server
client_ns=tpa-$$-client
server_ip=10.77.0.1
client_ip=10.77.0.2

in_server() { ip netns exec "$server_ns" "$@"; }
in_client() { ip netns exec "$client_ns" "$@"; }

make_namespaces() {
    at_exit remove_namespaces
    ip netns add "$server_ns"
    ip netns add "$client_ns"
    ip -n "$server_ns" link add eth0 type veth peer name eth0 netns "$client_ns"
    local ns
    for ns in "$server_ns" "$client_ns"; do
        # No IPv6: its neighbour discovery would stir the counters.
        ip netns exec "$ns" sysctl -q -w net.ipv6.conf.all.disable_ipv6=1
        ip -n "$ns" link set lo up
        ip -n "$ns" link set eth0 up
    done
    ip -n "$server_ns" address add "$server_ip/24" dev eth0
    ip -n "$client_ns" address add "$client_ip/24" dev eth0
}

# Ends what runs in the namespaces, then removes them; the veth pair goes along.
remove_namespaces() {
    local ns pid
    for ns in "$server_ns" "$client_ns"; do
        [[ -e /run/netns/$ns ]] || continue
        for pid in $(ip netns pids "$ns" 2>/dev/null); do
            kill -9 "$pid" 2>/dev/null
        done
        ip netns del "$ns"
    done
}

# One of the kernel's counters in a namespace: kernel_counter NAMESPACE TcpInSegs.
kernel_counter() { ip netns exec "$1" nstat -asz "$2" | awk -v name="$2" '$1 == name { print $2 }'; }
