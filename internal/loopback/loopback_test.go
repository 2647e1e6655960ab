package loopback

import "testing"

func TestIs(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "[::1]": true, "::1": true,
		"localhost.example": false, "registry.localhost:80": false, "127.0.0.1.example": false, "10.0.0.1:5000": false,
		"a.localhost": false, "LOCALHOST": false, "": false, ":80": false, "[": false, "0.0.0.0": false, "[::]:80": false, "::2": false,
		"localhost:80@example.com": false, "127.1": false, "0x7f.0.0.1": false, "2130706433": false,
		"ghcr.io": false, "0.0.0.0:5000": false, "[::2]:80": false, "127.0.0.1.nip.io:5000": false, "localhost:": false, "localhost:99999": false,
	} {
		if got := Is(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
