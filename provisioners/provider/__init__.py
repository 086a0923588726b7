"""The Pulumi provider `pulumi-resource-understudy`: what happens on machines and hosts, as resources."""
