package provider

import (
	"context"
	"reflect"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// advice ends each error of a client whose daemon went away.
const advice = "; libvirt's daemon went away in the middle: run it again"

type call = func(context.Context, *schema.ResourceData, any) diag.Diagnostics

// soon ends what is being done when libvirt's daemon goes away, and says so, whatever it was. Upstream never dials anew,
// and refreshes the pool of a new volume until that works, for the 20 minutes that the SDK gives it.
func soon(p *schema.Provider) {
	for _, each := range p.ResourcesMap {
		each.CreateContext = told(each.CreateContext)
		each.ReadContext = told(each.ReadContext)
		each.UpdateContext = told(each.UpdateContext)
		each.DeleteContext = told(each.DeleteContext)
	}
}

func told(do call) call {
	if do == nil {
		return nil
	}
	return func(ctx context.Context, d *schema.ResourceData, client any) diag.Diagnostics {
		lost := connection(client).Disconnected()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-lost:
				cancel()
			case <-ctx.Done():
			}
		}()
		said := do(ctx, d, client)
		select {
		case <-lost:
			for at := range said {
				said[at].Summary += advice
			}
		default:
		}
		return said
	}
}

// connection returns what upstream keeps to itself, and has no other way to: of a client's fields, the one that speaks.
func connection(client any) *golibvirt.Libvirt {
	field := reflect.ValueOf(client.(*libvirt.Client)).Elem().FieldByName("libvirt")
	return (*golibvirt.Libvirt)(field.UnsafePointer())
}
