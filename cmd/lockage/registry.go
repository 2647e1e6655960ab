package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/oci/registry"
)

func newRegistryCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Run a small registry",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var addr, dir string
	var remote bool
	serve := &cobra.Command{
		Use:   "serve",
		Short: "Serve a folder as an OCI registry",
		Long: `Serve runs a registry over a folder, with the referrers API, until it is interrupted: for trying lockage out and for
tests. It knows no users and no TLS, and listens on loopback addresses only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lc net.ListenConfig
			listener, err := lc.Listen(cmd.Context(), "tcp", addr)
			if err != nil {
				return fmt.Errorf("registry: %w; choose another address with --addr", err)
			}
			a.warn("serving %s on %s", dir, listener.Addr())
			return registry.Serve(cmd.Context(), listener, registry.Options{Dir: dir, Deletes: true, AllowRemote: remote})
		},
	}
	serve.Flags().StringVar(&addr, "addr", "127.0.0.1:5000", "listen on this `ADDRESS`")
	serve.Flags().StringVar(&dir, "dir", "registry", "keep everything in this `DIR`")
	serve.Flags().BoolVar(&remote, "allow-remote", false, "listen on an address that other machines reach; whoever reaches it can write")
	cmd.AddCommand(serve)
	return cmd
}
