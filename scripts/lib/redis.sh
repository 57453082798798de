# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of namespaces.sh, demo and for demo
# One redis-server in the server's namespace and one redis-benchmark in the
# client's, with or without the shim. Sourced after namespaces.sh.
#
# The server answers on two TCP ports: $redis_port, which configurations name,
# and $kernel_port (TLS), which none does.

redis_port=6379
kernel_port=6380

# One core each where there are two.
if [[ $(nproc) -ge 2 ]]; then
    server_cpu=0 client_cpu=1
else
    server_cpu=0 client_cpu=0
fi

# A key and a certificate that sign themselves, for the second port.
make_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tpa-demo \
        -keyout "$work/redis.key" -out "$work/redis.crt" 2>/dev/null
}

at_exit stop_redis

# start_redis CONFIG: CONFIG is a tpa.conf, or empty for the kernel. Sets $redis_pid.
start_redis() {
    local -a environment=()
    [[ -z $1 ]] || environment=("LD_PRELOAD=$shim" "TPA_CONF=$1")
    ip netns exec "$server_ns" env "${environment[@]}" taskset -c "$server_cpu" \
        redis-server --bind 0.0.0.0 --port "$redis_port" --protected-mode no --save '' --dir "$work" \
        --tls-port "$kernel_port" --tls-cert-file "$work/redis.crt" --tls-key-file "$work/redis.key" \
        --tls-auth-clients no >"$work/redis.log" 2>&1 &
    redis_pid=$!
    wait_for 10 "redis-server to start" loopback_answers
}

stop_redis() {
    [[ -n ${redis_pid:-} ]] || return 0
    kill "$redis_pid" 2>/dev/null
    wait "$redis_pid" 2>/dev/null
    redis_pid=
    return 0
}

loopback_answers() {
    [[ $(in_server timeout 2 redis-cli -h 127.0.0.1 -p "$redis_port" ping 2>/dev/null) == PONG ]]
}

kernel_port_answers() {
    [[ $(in_client timeout 5 redis-cli --tls --insecure -h "$server_ip" -p "$kernel_port" ping 2>/dev/null) == PONG ]]
}

# wait_for SECONDS WHAT COMMAND...: runs the command until it succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if ((SECONDS >= deadline)); then
            tail -n 20 "$work/redis.log" >&2
            die "waited too long for $what; the last lines of the server are above"
        fi
        kill -0 "$redis_pid" 2>/dev/null || {
            cat "$work/redis.log" >&2
            die "redis-server ended; its output is above"
        }
        sleep 0.1
    done
}

# benchmark CONFIG HOST REQUESTS: 50 connections that get a value of three
# bytes. Sets $rate (requests/s), $p50 and $p99 (milliseconds).
benchmark() {
    local -a environment=()
    [[ -z $1 ]] || environment=("LD_PRELOAD=$shim" "TPA_CONF=$1")
    ip netns exec "$client_ns" env "${environment[@]}" taskset -c "$client_cpu" \
        timeout -k 5 120 redis-benchmark -h "$2" -p "$redis_port" -t get -c 50 -n "$3" --csv \
        >"$work/benchmark.csv" 2>"$work/benchmark.log" &
    # A signal to the script ends a wait, but not a command in the foreground.
    wait $! || {
        cat "$work/benchmark.log" >&2
        die "redis-benchmark failed (status $?); its output is above"
    }
    # "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",...
    IFS=, read -r rate p50 p99 < <(tr -d '"' <"$work/benchmark.csv" | awk -F, '$1 == "GET" { print $2 "," $5 "," $7 }')
    [[ -n ${rate:-} ]] || die "redis-benchmark printed no result"
}

# CPU time of a process so far, all its threads, in nanoseconds (proc(5), schedstat).
# Not %d: mawk cuts that to 32 bits.
cpu_nanoseconds() { cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
