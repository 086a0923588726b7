// Command pulumi-resource-libvirt is the Pulumi plugin of the PyPI package pulumi-libvirt, built from
// terraform-provider-libvirt by the bridge that Pulumi's own plugins are built with.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"understudy.invalid/libvirt/provider"
)

// Made by `go run ./schema >schema.json` before each build; not kept in Git.
//
//go:embed schema.json
var schema []byte

func main() {
	provider.DieWithParent()
	tfbridge.Main(provider.Name, provider.Version, provider.Info(), schema)
}
