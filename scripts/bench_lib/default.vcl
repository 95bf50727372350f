# Varnish for scripts/bench.
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "@application"; }
sub vcl_backend_response { set beresp.ttl = 1h; }
