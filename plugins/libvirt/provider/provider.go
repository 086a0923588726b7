// Package provider maps Terraform's libvirt provider to the type tokens of the PyPI package pulumi-libvirt.
package provider

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

const (
	// Name is the Pulumi package's name, the part before the first colon of each token.
	Name = "libvirt"
	// Version is that of the PyPI package pulumi-libvirt; requirements.in pins the same.
	Version = "0.5.4"
)

// Every resource of the Terraform provider, and the name of its class in the Python package.
var resources = map[string]string{
	"libvirt_cloudinit_disk": "CloudInitDisk",
	"libvirt_combustion":     "Combustion",
	"libvirt_domain":         "Domain",
	"libvirt_ignition":       "Ignition",
	"libvirt_network":        "Network",
	"libvirt_pool":           "Pool",
	"libvirt_volume":         "Volume",
}

// Every data source of the Terraform provider: the bridge refuses to start while one has no token.
var functions = map[string]string{
	"libvirt_network_dns_host_template":        "getNetworkDnsHostTemplate",
	"libvirt_network_dns_srv_template":         "getNetworkDnsSrvTemplate",
	"libvirt_network_dnsmasq_options_template": "getNetworkDnsmasqOptionsTemplate",
	"libvirt_node_device_info":                 "getNodeDeviceInfo",
	"libvirt_node_devices":                     "getNodeDevices",
	"libvirt_node_info":                        "getNodeInfo",
}

// token turns "CloudInitDisk" into "libvirt:index/cloudInitDisk:CloudInitDisk", the form in which pulumi-libvirt
// registers it.
func token(member string) string {
	file := []rune(member)
	file[0] = unicode.ToLower(file[0])
	return fmt.Sprintf("%s:index/%s:%s", Name, string(file), member)
}

// Info describes the whole plugin to the bridge.
func Info() tfbridge.ProviderInfo {
	noDocs := &tfbridge.DocInfo{Markdown: []byte(" ")}
	info := tfbridge.ProviderInfo{
		P:              shimv2.NewProvider(upstream()),
		Name:           Name,
		Version:        Version,
		ResourcePrefix: Name,
		GitHubOrg:      "dmacvicar",
		Resources:      map[string]*tfbridge.ResourceInfo{},
		DataSources:    map[string]*tfbridge.DataSourceInfo{},
		Config: map[string]*tfbridge.SchemaInfo{
			"uri": {Default: &tfbridge.DefaultInfo{EnvVars: []string{"LIBVIRT_DEFAULT_URI"}}},
		},
	}
	for name, member := range resources {
		info.Resources[name] = &tfbridge.ResourceInfo{Tok: tokens.Type(token(member)), Docs: noDocs}
	}
	for name, member := range functions {
		info.DataSources[name] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember(token(member)), Docs: noDocs}
	}
	info.SetAutonaming(255, "-")
	return info
}

// Unmapped names what the Terraform provider offers and the tables above do not; a build with any is refused.
func Unmapped() string {
	var missing []string
	p := libvirt.Provider()
	for name := range p.ResourcesMap {
		if _, ok := resources[name]; !ok {
			missing = append(missing, name)
		}
	}
	for name := range p.DataSourcesMap {
		if _, ok := functions[name]; !ok {
			missing = append(missing, name)
		}
	}
	return strings.Join(missing, ", ")
}
