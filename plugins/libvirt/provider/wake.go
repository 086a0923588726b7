package provider

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"sync"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt/uri"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// Where a domain's metadata say in libvirt's words why it did not wake; model/libvirt_xml.py names the same.
const (
	coldNamespace = "https://understudy.invalid/cold"
	cableOut      = "<link state='down'/>"
)

// interrupted is said where a signal came while the kernel looked through the filter of a new machine's devices, as
// provisioners/hypervisor/virsh.py tells; the start is then tried again, some times.
const (
	interrupted = "failed to load cgroup BPF prog: Resource temporarily unavailable"
	tries       = 10
)

// upstream returns the Terraform provider, with two things done otherwise. A new domain that cannot be woken from the
// memory that was laid down for it starts cold, within the same create; upstream leaves it defined and stopped, unknown
// to the state. And a daemon that goes away is told soon.
func upstream() *schema.Provider {
	p := libvirt.Provider()
	var uris, ways sync.Map
	configure, domain := p.ConfigureFunc, p.ResourcesMap["libvirt_domain"]
	p.ConfigureFunc = func(d *schema.ResourceData) (any, error) {
		var client any
		host := d.Get("uri").(string)
		far, err := through(host, func(near string) (err error) {
			if near == host {
				client, err = configure(d)
			} else {
				client, err = (&libvirt.Config{URI: near}).Client()
			}
			return err
		})
		uris.Store(client, host)
		if far != nil {
			ways.Store(client, far)
		}
		return client, err
	}
	create := domain.CreateContext
	domain.CreateContext = func(ctx context.Context, d *schema.ResourceData, client any) diag.Diagnostics {
		said := create(ctx, d, client)
		for tried := 1; tried < tries && strings.Contains(words(said), interrupted); tried++ {
			said = create(ctx, d, client)
		}
		host, known := uris.Load(client)
		if !said.HasError() || !known {
			return said
		}
		virt, machine, err := withoutMemory(host.(string), d.Get("name").(string))
		if err != nil {
			return said
		}
		defer virt.Disconnect()
		again := create(ctx, d, client)
		if !again.HasError() {
			note(virt, machine, said)
		}
		return again
	}
	soon(p, &ways)
	return p
}

// withoutMemory removes the memory that a stopped domain is to be started from; where there is none, or one with its
// cables in, which was not laid down for a new machine, it is an error.
func withoutMemory(host, name string) (*golibvirt.Libvirt, golibvirt.Domain, error) {
	var machine golibvirt.Domain
	var virt *golibvirt.Libvirt
	_, err := through(host, func(near string) error {
		parsed, err := uri.Parse(near)
		if err != nil {
			return err
		}
		virt = golibvirt.NewWithDialer(parsed)
		return virt.ConnectToURI(golibvirt.ConnectURI(parsed.RemoteName()))
	})
	if err != nil {
		return nil, machine, err
	}
	machine, err = virt.DomainLookupByName(name)
	if err == nil {
		var saved string
		saved, err = virt.DomainManagedSaveGetXMLDesc(machine, 0)
		if err == nil && !strings.Contains(saved, cableOut) {
			err = fmt.Errorf("%s has a saved memory of its own", name)
		}
	}
	if err == nil {
		err = virt.DomainManagedSaveRemove(machine, 0)
	}
	if err != nil {
		virt.Disconnect()
	}
	return virt, machine, err
}

// note writes down beside the domain why it did not wake. It runs: that this could not be written is no fault of it.
func note(virt *golibvirt.Libvirt, machine golibvirt.Domain, said diag.Diagnostics) {
	var text strings.Builder
	if xml.EscapeText(&text, []byte(words(said))) != nil {
		return
	}
	element := golibvirt.OptString{"<cold>" + text.String() + "</cold>"}
	_ = virt.DomainSetMetadata(machine, int32(golibvirt.DomainMetadataElement), element, golibvirt.OptString{"cold"},
		golibvirt.OptString{coldNamespace}, golibvirt.DomainAffectConfig)
}

// words returns all that went wrong, in one line.
func words(said diag.Diagnostics) string {
	var each []string
	for _, one := range said {
		each = append(each, one.Summary)
	}
	return strings.Join(strings.Fields(strings.Join(each, "; ")), " ")
}
