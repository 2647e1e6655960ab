package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/oci/registry"
)

func newRegistryServeCommand(a *app) *cobra.Command {
	var addr, dir string
	var remote bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a folder as an OCI registry",
		Long: `Serve runs a registry over a folder, with the referrers API, until it is interrupted. It is meant for trials and tests: it
has no users and no TLS, and listens on loopback addresses only.`,
		Example: "  lockage registry serve --addr 127.0.0.1:5000 --dir /tmp/registry",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listener, err := listen(cmd.Context(), addr, remote)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user names the folder
				return errors.Join(fmt.Errorf("registry: %w; choose another folder with --dir", err), listener.Close())
			}
			a.warn("serving %s on %s", dir, listener.Addr())
			return registry.Serve(cmd.Context(), listener, registry.Options{Dir: dir, Deletes: true, AllowRemote: remote})
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:5000", "`ADDRESS` to listen on")
	cmd.Flags().StringVar(&dir, "dir", "registry", "`DIR` for all data")
	cmd.Flags().BoolVar(&remote, "allow-remote", false, "allow an address that other machines can reach; all of them can write then")
	return cmd
}

// listen opens the address of a registry. The registry has no users, so that other machines must not reach it unless remote is
// set.
func listen(ctx context.Context, addr string, remote bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return nil, usagef("--addr %q: want HOST:PORT, such as 127.0.0.1:5000 (%w)", addr, err)
	}
	if !remote && !loopback.Is(host) {
		return nil, usagef("--addr %s: other machines could reach it, and the registry has no users; listen on 127.0.0.1", addr)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("registry: %w; choose another address with --addr", err)
	}
	return listener, nil
}
