// Command schema prints the Pulumi schema of the plugin; the build embeds what it prints.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"

	"understudy.invalid/libvirt/provider"
)

func main() {
	if missing := provider.Unmapped(); missing != "" {
		fail("plugins/libvirt/provider/provider.go gives no token to %s", missing)
	}
	// The generator's remarks on documentation go nowhere: this plugin has none, and its real faults are errors.
	sink := diag.DefaultSink(io.Discard, os.Stderr, diag.FormatOptions{Color: colors.Never})
	result, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo: provider.Info(), DiagnosticsSink: sink, XInMemoryDocs: true,
	})
	if err != nil {
		fail("cannot generate the schema: %v", err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result.PackageSpec); err != nil {
		fail("cannot write the schema: %v", err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
